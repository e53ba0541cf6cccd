//! Calls a function URL with `AuthType: AWS_IAM`, and prints the answer as it comes.
//!
//! `cargo run --example call --features aws-chain -- https://….lambda-url.us-west-2.on.aws/ Hi`
//!
//! The request is signed for Lambda, in the region that the URL names. The caller needs
//! `lambda:InvokeFunctionUrl` and `lambda:InvokeFunction` on the function.

use std::io::Write as _;

use agentcore_client::Client;
use serde_json::json;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or("which function URL?")?;
    let prompt = arguments.next().unwrap_or_else(|| "Hi".to_owned());
    let client = Client::builder_from_env().invocation_url(url).build()?;
    let question = json!({ "conversation": "1", "prompt": prompt });
    let mut events = client.invoke(question).stream().await?;
    let mut deltas = events.text_deltas();
    while let Some(text) = deltas.try_next().await? {
        print!("{text}");
        std::io::stdout().flush()?;
    }
    println!();
    Ok(())
}
