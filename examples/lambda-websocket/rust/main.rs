//! The whole function in Rust: each message of a socket goes to the agent, and its answer to the
//! socket. `README.md` beside it says how it is deployed.

use agentcore_client::Client;
use agentcore_client::apigateway::{LambdaContext, WebSocketRelay};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    // AGENT_RUNTIME_ARN names the runtime; the keys are those of the function's role.
    let mut relay = WebSocketRelay::builder(&Client::from_env()?)
        .secret(std::env::var("AGENTCORE_RELAY_SECRET")?)
        // Web pages of other origins cannot connect.
        .allowed_origins(std::env::var("ALLOWED_ORIGINS")?.split(','))
        // Nobody signs in here: who holds a conversation's token goes on with it. With an
        // authorizer, give `.principal("principalId")` in its place.
        .anyone_resumes(true);
    // Where there is a table for it, a second delivery of an event is noticed.
    if let Some(table) = std::env::var("CLAIMS_TABLE").ok().filter(|name| !name.is_empty()) {
        relay = relay.claims_table(table);
    }
    let relay = relay.build()?;
    let handler = |event: LambdaEvent<Value>| {
        let relay = relay.clone();
        async move {
            let context = LambdaContext::default()
                .deadline(event.context.deadline())
                .function_arn(event.context.invoked_function_arn);
            Ok::<_, Error>(relay.handle(event.payload, context).await.to_json())
        }
    };
    run(service_fn(handler)).await
}
