"""Which of Google's predefined roles has a permission that the operator needs. Pure."""

from __future__ import annotations

# The narrowest of deploy/roles.txt, but for what only impersonation needs; the longest beginning that fits counts.
ROLES = {
    "cloudsql.": "roles/cloudsql.admin",
    "iam.serviceAccounts.": "roles/iam.serviceAccountAdmin",
    "iam.serviceAccounts.actAs": "roles/iam.serviceAccountUser",
    "iam.serviceAccounts.getAccessToken": "roles/iam.serviceAccountTokenCreator",
    "iam.serviceAccounts.getOpenIdToken": "roles/iam.serviceAccountTokenCreator",
    "logging.": "roles/logging.viewer",
    "resourcemanager.": "roles/resourcemanager.projectIamAdmin",
    "run.": "roles/run.admin",
    "secretmanager.": "roles/secretmanager.admin",
    "serviceusage.": "roles/serviceusage.serviceUsageAdmin",
    "storage.": "roles/storage.admin",
}


def role_for(permission: str) -> str:
    """The role's name, "" where none is known."""
    return ROLES.get(max((opening for opening in ROLES if permission.startswith(opening)), key=len, default=""), "")
