# What the function may do: call one runtime, write to the sockets of one stage, invoke itself, log.

resource "aws_iam_role" "relay" {
  name = var.name
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "lambda.amazonaws.com" }
    }]
  })
}

resource "aws_iam_role_policy" "relay" {
  name   = "relay"
  role   = aws_iam_role.relay.id
  policy = data.aws_iam_policy_document.relay.json
}

data "aws_iam_policy_document" "relay" {
  # Both ARNs: the service asks about the endpoint, too.
  statement {
    sid     = "CallTheAgent"
    actions = ["bedrock-agentcore:InvokeAgentRuntime"]
    resources = [
      var.agent_runtime_arn,
      "${var.agent_runtime_arn}/runtime-endpoint/${var.agent_qualifier}",
    ]
  }

  statement {
    sid       = "PostToSockets"
    actions   = ["execute-api:ManageConnections"]
    resources = ["${aws_apigatewayv2_api.relay.execution_arn}/${var.stage}/POST/@connections/*"]
  }

  statement {
    sid       = "StartTheSecondStage"
    actions   = ["lambda:InvokeFunction"]
    resources = [local.function_arn]
  }

  statement {
    sid       = "Log"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.relay.arn}:*"]
  }

  dynamic "statement" {
    for_each = aws_dynamodb_table.claims[*].arn
    content {
      sid       = "ClaimEachEventOnce"
      actions   = ["dynamodb:PutItem"]
      resources = [statement.value]
    }
  }
}
