output "websocket_url" {
  description = "Where clients connect; the page takes it as ?url=."
  value       = "${aws_apigatewayv2_api.relay.api_endpoint}/${aws_apigatewayv2_stage.relay.name}"
}

output "function_name" {
  description = "The function behind the API."
  value       = aws_lambda_function.relay.function_name
}
