//! Asks the runtime that the environment names, and prints what it says as it says it.
//!
//! `AGENT_RUNTIME_ARN=arn:… cargo run -p agentcore-examples --features aws-chain --example invoke -- Hi`

use std::io::Write as _;

use agentcore_client::{Client, Result};
use serde_json::json;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let prompt = std::env::args().nth(1).unwrap_or_else(|| "Hi".to_owned());
    if let Err(error) = ask(&prompt).await {
        eprintln!("{error}");
        std::process::exit(1);
    }
}

async fn ask(prompt: &str) -> Result<()> {
    let client = Client::from_env()?;
    let mut stream = client.invoke(json!({ "prompt": prompt })).stream().await?;
    let mut deltas = stream.text_deltas();
    while let Some(text) = deltas.try_next().await? {
        print!("{text}");
        // A terminal that is gone is no reason to stop asking.
        let _ = std::io::stdout().flush();
    }
    println!();
    Ok(())
}
