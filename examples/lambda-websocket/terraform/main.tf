# A WebSocket API, the function behind it, and nothing that they are not allowed to need.

terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.60, < 7.0"
    }
    random = {
      source  = "hashicorp/random"
      version = "~> 3.5"
    }
  }
}

provider "aws" {
  region = var.region
}

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

locals {
  # The function invokes itself by name, so that its policy can name it before it is there.
  function_arn = join(":", [
    "arn", data.aws_partition.current.partition, "lambda", var.region,
    data.aws_caller_identity.current.account_id, "function", var.name,
  ])
}

# ---- the function ----

resource "aws_lambda_function" "relay" {
  function_name = var.name
  role          = aws_iam_role.relay.arn
  filename      = var.package
  handler       = var.handler
  runtime       = var.runtime
  architectures = [var.architecture]

  source_code_hash = filebase64sha256(var.package)

  # The second stage relays one answer to its end. A Lambda runs for 15 minutes at most.
  timeout     = 900
  memory_size = var.memory_mb

  reserved_concurrent_executions = var.concurrency

  environment {
    variables = {
      AGENT_RUNTIME_ARN      = var.agent_runtime_arn
      AGENTCORE_RELAY_SECRET = random_password.relay.result
      ALLOWED_ORIGINS        = join(",", var.allowed_origins)
      CLAIMS_TABLE           = var.claims ? aws_dynamodb_table.claims[0].name : ""
    }
  }

  logging_config {
    log_format = "JSON"
    log_group  = aws_cloudwatch_log_group.relay.name
  }

  depends_on = [aws_iam_role_policy.relay]
}

# What session ids and resume tokens are made from. It stands in the state file: keep that safe. To
# change it ends all conversations.
resource "random_password" "relay" {
  length  = 48
  special = false
}

# A second stage that failed is not run again: the agent would run twice. One that waited too long
# is of no use to anybody.
resource "aws_lambda_function_event_invoke_config" "relay" {
  function_name                = aws_lambda_function.relay.function_name
  maximum_retry_attempts       = 0
  maximum_event_age_in_seconds = 60
}

resource "aws_cloudwatch_log_group" "relay" {
  name              = "/aws/lambda/${var.name}"
  retention_in_days = var.log_days
}

# Lambda delivers an event twice now and then. With this table, into which the relay puts the number of
# each once, the second one is noticed.
resource "aws_dynamodb_table" "claims" {
  count        = var.claims ? 1 : 0
  name         = "${var.name}-claims"
  billing_mode = "PAY_PER_REQUEST"
  hash_key     = "nonce"

  attribute {
    name = "nonce"
    type = "S"
  }

  ttl {
    attribute_name = "expires"
    enabled        = true
  }
}

# ---- the API ----

resource "aws_apigatewayv2_api" "relay" {
  name                       = var.name
  protocol_type              = "WEBSOCKET"
  route_selection_expression = "$request.body.action"
}

resource "aws_apigatewayv2_integration" "relay" {
  api_id               = aws_apigatewayv2_api.relay.id
  integration_type     = "AWS_PROXY"
  integration_uri      = aws_lambda_function.relay.invoke_arn
  timeout_milliseconds = 29000
}

resource "aws_apigatewayv2_route" "relay" {
  for_each  = toset(["$connect", "$disconnect", "$default"])
  api_id    = aws_apigatewayv2_api.relay.id
  route_key = each.key
  # Asked once, when a socket is opened.
  authorization_type = each.key == "$connect" ? var.authorization : "NONE"

  target = "integrations/${aws_apigatewayv2_integration.relay.id}"
}

resource "aws_apigatewayv2_stage" "relay" {
  api_id      = aws_apigatewayv2_api.relay.id
  name        = var.stage
  auto_deploy = true

  default_route_settings {
    throttling_rate_limit  = var.messages_per_second
    throttling_burst_limit = var.messages_burst
  }
}

resource "aws_lambda_permission" "api" {
  statement_id  = "AllowWebSocketApi"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.relay.function_name
  principal     = "apigateway.amazonaws.com"
  source_arn    = "${aws_apigatewayv2_api.relay.execution_arn}/${var.stage}/*"
}
