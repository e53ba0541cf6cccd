# What somebody should look at. Without `alarm_topic_arn` they only show in the console.

locals {
  alarms = {
    errors = {
      metric      = "Errors"
      threshold   = 1
      statistic   = "Sum"
      description = "The relay failed. It catches what goes wrong with an answer, so this is a defect or a time-out."
    }
    throttles = {
      metric      = "Throttles"
      threshold   = 1
      statistic   = "Sum"
      description = "More answers at the same time than the function's concurrency lets through."
    }
    dropped = {
      metric      = "AsyncEventsDropped"
      threshold   = 1
      statistic   = "Sum"
      description = "Second stages that never ran: their clients wait for nothing."
    }
    late = {
      metric      = "AsyncEventAge"
      threshold   = 15000
      statistic   = "Maximum"
      description = "Second stages begin late. After 30 s the relay refuses them."
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "function" {
  for_each            = local.alarms
  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.description
  namespace           = "AWS/Lambda"
  metric_name         = each.value.metric
  statistic           = each.value.statistic
  threshold           = each.value.threshold
  comparison_operator = "GreaterThanOrEqualToThreshold"
  period              = 60
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  dimensions          = { FunctionName = aws_lambda_function.relay.function_name }
  alarm_actions       = var.alarm_topic_arn == null ? [] : [var.alarm_topic_arn]
}

resource "aws_cloudwatch_metric_alarm" "api" {
  alarm_name          = "${var.name}-integration-errors"
  alarm_description   = "The WebSocket API got no good answer from the function."
  namespace           = "AWS/ApiGateway"
  metric_name         = "IntegrationError"
  statistic           = "Sum"
  threshold           = 1
  comparison_operator = "GreaterThanOrEqualToThreshold"
  period              = 60
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  dimensions          = { ApiId = aws_apigatewayv2_api.relay.id, Stage = aws_apigatewayv2_stage.relay.name }
  alarm_actions       = var.alarm_topic_arn == null ? [] : [var.alarm_topic_arn]
}
