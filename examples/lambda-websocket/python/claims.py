"""Stops second deliveries of an event: each number is put into a table once.

    relay = WebSocketRelay(..., claim=claims.claim)

boto3 is there in Lambda's Python. It costs a cold start some tenths of a second, which is why it is
imported at the first event and not before.
"""

import functools
import os
import time


@functools.cache
def table():
    import boto3
    from botocore.config import Config

    # One try: after a put whose answer was lost, another one would find its own number there.
    return boto3.client("dynamodb", config=Config(retries={"total_max_attempts": 1}))


def claim(nonce: str) -> bool:
    """Whether this event comes for the first time."""
    client = table()
    try:
        client.put_item(
            TableName=os.environ["CLAIMS_TABLE"],
            # The table's TTL takes it away.
            Item={"nonce": {"S": nonce}, "expires": {"N": str(int(time.time()) + 600)}},
            ConditionExpression="attribute_not_exists(nonce)",
        )
    except client.exceptions.ConditionalCheckFailedException:
        return False
    return True
