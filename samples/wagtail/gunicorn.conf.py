"""One process with threads per instance: Cloud Run adds instances, not workers."""

import os

bind = f"0.0.0.0:{os.environ.get('PORT', '8080')}"
workers = 1
threads = 8  # connectionsPerInstance of the DjangoApp counts on it
preload_app = True  # an application that cannot be imported ends the container at once
timeout = 0  # Cloud Run has the deadline of a request
graceful_timeout = 8  # of the ten seconds between SIGTERM and SIGKILL
control_socket_disable = True  # nobody could reach it in a container
