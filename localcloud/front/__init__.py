"""Where requests come in: the certificate authority, the HTTPS proxy, the front door of deployed apps."""
