import json
import logging
from datetime import datetime, timezone


class JsonFormatter(logging.Formatter):
    """One JSON object a line, with the fields that Cloud Logging knows."""

    def format(self, record):
        message = record.getMessage()
        if record.exc_info:
            message = f"{message}\n{self.formatException(record.exc_info)}"
        return json.dumps(
            {
                "severity": record.levelname,
                "message": message,
                "logger": record.name,
                "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(),
            }
        )
