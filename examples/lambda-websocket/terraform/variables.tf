variable "region" {
  description = "Where the API and the function are. Best the runtime's own region."
  type        = string
}

variable "agent_runtime_arn" {
  description = "The runtime to call, without an endpoint."
  type        = string

  validation {
    condition     = can(regex("^arn:aws[a-z-]*:bedrock-agentcore:[a-z0-9-]+:[0-9]{12}:runtime/[A-Za-z0-9_-]+$", var.agent_runtime_arn))
    error_message = "This is no runtime ARN like arn:aws:bedrock-agentcore:us-west-2:123456789012:runtime/my_agent-AbCdEf1234."
  }
}

variable "agent_qualifier" {
  description = "The runtime's endpoint; the handler has to ask for the same one."
  type        = string
  default     = "DEFAULT"
}

variable "allowed_origins" {
  description = "The web pages that may connect, such as https://chat.example.com."
  type        = list(string)

  validation {
    condition     = length(var.allowed_origins) > 0
    error_message = "Name at least one origin."
  }
}

variable "authorization" {
  description = "NONE: everyone who knows the URL may connect. AWS_IAM: who signs, or has a presigned URL."
  type        = string
  default     = "NONE"

  validation {
    condition     = contains(["NONE", "AWS_IAM"], var.authorization)
    error_message = "NONE or AWS_IAM; an authorizer of your own needs a resource of its own."
  }
}

variable "package" {
  description = "The zip file of the function; README.md says how it is made."
  type        = string
}

variable "name" {
  description = "Of the API, the function, its role and its log group."
  type        = string
  default     = "agent-relay"
}

variable "stage" {
  description = "The path of the WebSocket URL."
  type        = string
  default     = "prod"
}

variable "runtime" {
  description = "python3.13 for the handler in Python, provided.al2023 for the one in Rust."
  type        = string
  default     = "python3.13"
}

variable "handler" {
  description = "handler.handler for Python; Rust ignores it."
  type        = string
  default     = "handler.handler"
}

variable "architecture" {
  description = "arm64 or x86_64: that of the package."
  type        = string
  default     = "arm64"
}

variable "memory_mb" {
  description = "A relay mostly waits; more memory also means more CPU at a cold start."
  type        = number
  default     = 256
}

variable "concurrency" {
  description = "Answers that may be relayed at the same time; each holds a run of the function. -1: no limit but the account's."
  type        = number
  default     = 100
}

variable "messages_per_second" {
  description = "Messages that the stage lets through."
  type        = number
  default     = 100
}

variable "messages_burst" {
  description = "And how many at once."
  type        = number
  default     = 200
}

variable "claims" {
  description = "Make the table with which the relay stops duplicate events."
  type        = bool
  default     = false
}

variable "log_days" {
  description = "How long logs are kept."
  type        = number
  default     = 30
}

variable "alarm_topic_arn" {
  description = "The SNS topic that is told of alarms."
  type        = string
  default     = null
}
