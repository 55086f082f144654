"""The Google resources that an app wants, as frozen values: made by the blueprint, read by drivers and the plan.

One file a Google service. A resource is identified by its full name in Google Cloud, which is deterministic.
"""
