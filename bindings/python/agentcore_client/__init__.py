"""Call agents on Amazon Bedrock AgentCore Runtime."""
