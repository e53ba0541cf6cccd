"""A function that does nothing: what Python and Lambda's runtime cost by themselves."""

from typing import Any


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return {"statusCode": 200}
