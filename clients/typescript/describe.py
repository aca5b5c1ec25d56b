"""Print the API description, from which `make client-typescript` writes src/schema.ts."""

import json
import sys

from app.main import create_app
from app.settings import read_settings

# Of a service that is never started: the description does not depend on them.
SETTINGS = {"secret_key": "0" * 64, "webhook_token": "0" * 64, "database_url": "sqlite:///unused.db"}

if __name__ == "__main__":
    json.dump(create_app(read_settings(**SETTINGS)).openapi(), sys.stdout)
