//! Streams an agent's tokens to the terminal, then goes on in the same session.
//!
//! Without arguments it starts the local data plane with its demo agent, so it needs no AWS
//! account. `--arn ARN [PROMPT]` calls a runtime on AWS, `--local URL [PROMPT]` a local agent
//! container such as http://127.0.0.1:8080.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use agentcore_client::{Auth, Client, Credentials, SessionId};
use agentcore_local::{Agent, LocalDataPlane};
use serde_json::json;

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quickstart: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    let arguments = Arguments::parse(std::env::args().skip(1))?;
    // Lives to the end of main: dropping it ends the local data plane.
    let mut local = None;
    let client = match &arguments.target {
        Target::Demo => {
            // An agent that speaks at a model's pace.
            let agent = Agent::demo_paced(Duration::from_millis(60));
            let plane = local.insert(LocalDataPlane::builder().agent(agent).start_blocking()?);
            let keys = Credentials::new(plane.access_key(), plane.secret_key(), None, None, "demo");
            Client::builder(plane.runtime_arn())
                .endpoint_url(plane.base_url())
                .auth(Auth::sigv4(keys))
                .build()?
        }
        Target::Runtime(arn) => Client::builder(arn).build()?,
        Target::Local(url) => Client::builder_from_env().local_url(url).build()?,
    };

    let session = SessionId::generate();
    println!("session  {session}");
    ask(&client, &session, &arguments.prompt).await?;
    ask(&client, &session, "And what did I ask you before?").await
}

/// One turn: the tokens as they come, then what there is to say about the answer.
async fn ask(client: &Client, session: &SessionId, prompt: &str) -> Result<()> {
    println!("\nyou      {prompt}");
    print!("agent    ");
    let started = Instant::now();
    let mut first_token = None;
    let mut stream = client.invoke(json!({ "prompt": prompt })).session(session).stream().await?;
    while let Some(event) = stream.try_next().await? {
        // An agent whose answer is data and no text is shown as it is.
        let whole = stream.content_type().is_some_and(|kind| kind.starts_with("application/json"));
        let shown = event.text().or(if whole { event.data_str() } else { None });
        if let Some(text) = shown {
            first_token.get_or_insert_with(|| started.elapsed());
            print!("{text}");
            std::io::stdout().flush()?;
        }
    }
    println!();
    if let Some(first_token) = first_token {
        println!("timing   first token after {:.1} ms", first_token.as_secs_f64() * 1_000.0);
    }
    if let Some(end) = stream.end() {
        println!("end      {end}, events: {}", stream.events_seen());
    }
    Ok(())
}

struct Arguments {
    target: Target,
    prompt: String,
}

enum Target {
    Demo,
    Runtime(String),
    Local(String),
}

impl Arguments {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        let (mut target, mut prompt) = (Target::Demo, None);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--arn" => target = Target::Runtime(arguments.next().ok_or("--arn needs an ARN")?),
                "--local" => target = Target::Local(arguments.next().ok_or("--local needs a URL")?),
                "-h" | "--help" => {
                    println!("quickstart [--arn ARN | --local URL] [PROMPT]");
                    std::process::exit(0);
                }
                flag if flag.starts_with('-') => {
                    return Err(format!("unknown option {flag}").into());
                }
                _ => prompt = Some(argument),
            }
        }
        let prompt = prompt.unwrap_or_else(|| "What can an agent runtime do for me?".to_owned());
        Ok(Self { target, prompt })
    }
}
