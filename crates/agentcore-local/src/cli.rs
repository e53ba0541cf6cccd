//! The flags of the binary. Written by hand: there are few, and an unknown one must be refused
//! with a sentence that helps.

use agentcore_local::{Agent, Builder, Gateway, JwtAuth, LocalDataPlane};
use std::time::Duration;

const HELP: &str = "\
A local data plane for Amazon Bedrock AgentCore Runtime.

Usage: agentcore-local [flags]

Prints one line of JSON that says how to reach it, then serves until its standard input closes.

  --host ADDRESS          listen here (default 127.0.0.1)
  --port N                listen on this port (default: a free one)
  --allow-remote          let --host be an address that other machines can reach
  --allow-host NAME       accept this Host header too, e.g. agentcore:8443
  --allow-origin ORIGIN   accept requests of web pages from this origin
  --base-path PATH        serve the operations below this path
  --no-stdin-watch        go on when standard input closes

  --arn ARN               the runtime ARN to serve; it decides the region
  --qualifier NAME        serve this endpoint beside DEFAULT
  --agent URL             pass calls on to this agent container (default: the demo agent)
  --pace-ms N             the demo agent's pause between tokens
  --provisioning-ms N     how long a new session takes until it can be used
  --allow-header NAME     let this header through to the agent
  --container-paths       also serve POST /invocations as an agent container does
  --clock-offset-s N      set the clock so many seconds ahead

  --access-key ID --secret-key KEY [--session-token TOKEN]
                          keys that callers sign with (default: random)
  --no-auth               accept everyone

  --jwt-issuer URL        want bearer tokens of this issuer in place of signatures, with
    --jwt-audience NAME     one of these in aud
    --jwt-client ID         one of these in client_id
    --jwt-hs256-secret KEY  this HS256 secret (default: random)
    --jwks FILE             the public keys in this file, for RS256 and ES256

  --handler COMMAND       put an API Gateway WebSocket API in front, whose function is this command,
                          run as Lambda runs it; words may be quoted, no shell is in between
    --handler-name NAME     what it finds as _HANDLER (default handler.handler)
    --handler-env NAME=VAL  one more environment variable of it
    --page FOLDER           serve the files of this folder as a web page that may connect
    --stage NAME            the path of the WebSocket URL (default local)
    --route NAME            a route beside $default, selected by action in a message
    --function-name NAME    its name for Invoke (default relay)
    --function-timeout-ms N how long a run may take (default 900000)
    --function-memory-mb N  what it is told of its memory (default 512)
    --concurrency N         runs at the same time; further ones wait (default 16)
    --max-retry-attempts N  how often an event that failed is run again (default 0)
    --retry-delay-ms N      the pause before that (default 60000)
    --integration-timeout-ms N
                            how long the gateway waits for it (default 29000)
    --idle-timeout-ms N     when a silent socket is closed (default 600000)
    --max-connection-ms N   when every socket is closed (default 7200000)

  --help, --version

--qualifier, --allow-*, --jwt-audience, --jwt-client, --handler-env and --route may be given more
than once.
";

/// What the flags ask for.
pub(crate) enum Command {
    Serve(Box<Options>),
    Print(String),
}

pub(crate) struct Options {
    pub(crate) builder: Builder,
    pub(crate) watch_stdin: bool,
}

#[derive(Default)]
struct Seen {
    access_key: Option<String>,
    secret_key: Option<String>,
    session_token: Option<String>,
    agent: Option<String>,
    pace: Option<Duration>,
    no_auth: bool,
    issuer: Option<String>,
    audiences: Vec<String>,
    clients: Vec<String>,
    secret: Option<String>,
    jwks: Option<String>,
    handler: Option<String>,
    /// What the other flags of the gateway do to it, and the first of them.
    gateway: Vec<Box<dyn FnOnce(Gateway) -> Gateway>>,
    gateway_flag: Option<String>,
}

/// Reads the flags; the error is a sentence for the user.
pub(crate) fn parse(arguments: &[String]) -> Result<Command, String> {
    let mut builder = LocalDataPlane::builder();
    let mut watch_stdin = true;
    let mut seen = Seen::default();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let (flag, inline) = match argument.split_once('=') {
            Some((flag, value)) if flag.starts_with("--") => (flag, Some(value.to_owned())),
            _ => (argument.as_str(), None),
        };
        let switch = matches!(
            flag,
            "--help"
                | "-h"
                | "--version"
                | "--allow-remote"
                | "--no-stdin-watch"
                | "--no-auth"
                | "--container-paths"
        );
        if switch && inline.is_some() {
            return Err(format!("{flag} takes no value"));
        }
        let mut value = || {
            inline.clone().or_else(|| rest.next().cloned()).ok_or(format!("{flag} needs a value"))
        };
        match flag {
            "--help" | "-h" => return Ok(Command::Print(HELP.to_owned())),
            "--version" => {
                let version = concat!("agentcore-local ", env!("CARGO_PKG_VERSION"), "\n");
                return Ok(Command::Print(version.to_owned()));
            }
            "--allow-remote" => builder = builder.allow_remote(),
            "--no-stdin-watch" => watch_stdin = false,
            "--container-paths" => builder = builder.container_paths(),
            "--no-auth" => seen.no_auth = true,
            "--host" => builder = builder.host(value()?),
            "--port" => builder = builder.port(number(flag, &value()?)?),
            "--allow-host" => builder = builder.allow_host(value()?),
            "--allow-origin" => builder = builder.allow_origin(value()?),
            "--base-path" => builder = builder.base_path(value()?),
            "--arn" => builder = builder.runtime_arn(value()?),
            "--qualifier" => builder = builder.qualifier(value()?),
            "--agent" => seen.agent = Some(value()?),
            "--pace-ms" => seen.pace = Some(millis(flag, &value()?)?),
            "--provisioning-ms" => {
                builder = builder.provisioning(millis(flag, &value()?)?);
            }
            "--allow-header" => builder = builder.allow_header(value()?),
            "--clock-offset-s" => builder = builder.clock_offset(number(flag, &value()?)?),
            "--access-key" => seen.access_key = Some(value()?),
            "--secret-key" => seen.secret_key = Some(value()?),
            "--session-token" => seen.session_token = Some(value()?),
            "--jwt-issuer" => seen.issuer = Some(value()?),
            "--jwt-audience" => seen.audiences.push(value()?),
            "--jwt-client" => seen.clients.push(value()?),
            "--jwt-hs256-secret" => seen.secret = Some(value()?),
            "--jwks" => seen.jwks = Some(value()?),
            "--handler" => seen.handler = Some(value()?),
            "--handler-name" => seen.gateway(flag, value()?, Gateway::handler),
            "--handler-env" => {
                let given = value()?;
                let (name, value) = given
                    .split_once('=')
                    .ok_or_else(|| format!("{flag} needs NAME=VALUE, not '{given}'"))?;
                let pair = (name.to_owned(), value.to_owned());
                seen.gateway(flag, pair, |g, (name, value)| g.variable(name, value));
            }
            "--page" => seen.gateway(flag, value()?, Gateway::page),
            "--stage" => seen.gateway(flag, value()?, Gateway::stage),
            "--route" => seen.gateway(flag, value()?, Gateway::route),
            "--function-name" => seen.gateway(flag, value()?, Gateway::function_name),
            "--function-timeout-ms" => {
                seen.gateway(flag, millis(flag, &value()?)?, Gateway::function_timeout);
            }
            "--function-memory-mb" => {
                seen.gateway(flag, number(flag, &value()?)?, Gateway::memory_mb);
            }
            "--concurrency" => seen.gateway(flag, number(flag, &value()?)?, Gateway::concurrency),
            "--max-retry-attempts" => {
                seen.gateway(flag, number(flag, &value()?)?, Gateway::max_retry_attempts);
            }
            "--retry-delay-ms" => {
                seen.gateway(flag, millis(flag, &value()?)?, Gateway::retry_delay);
            }
            "--integration-timeout-ms" => {
                seen.gateway(flag, millis(flag, &value()?)?, Gateway::integration_timeout);
            }
            "--idle-timeout-ms" => {
                seen.gateway(flag, millis(flag, &value()?)?, Gateway::idle_timeout);
            }
            "--max-connection-ms" => {
                seen.gateway(flag, millis(flag, &value()?)?, Gateway::max_connection);
            }
            other => return Err(format!("unknown argument '{other}'; see --help")),
        }
    }
    let builder = seen.apply(builder)?;
    Ok(Command::Serve(Box::new(Options { builder, watch_stdin })))
}

fn number<T: std::str::FromStr>(flag: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{flag} needs a number, not '{text}'"))
}

fn millis(flag: &str, text: &str) -> Result<Duration, String> {
    number(flag, text).map(Duration::from_millis)
}

/// The words of a command: cut at spaces, except within single or double quotes.
fn words(command: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in command.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    if quote.is_some() { Err("--handler: a quote is not closed".to_owned()) } else { Ok(words) }
}

impl Seen {
    fn gateway<T: 'static>(&mut self, flag: &str, value: T, set: fn(Gateway, T) -> Gateway) {
        self.gateway_flag.get_or_insert_with(|| flag.to_owned());
        self.gateway.push(Box::new(move |gateway| set(gateway, value)));
    }

    /// What only makes sense together.
    fn apply(self, mut builder: Builder) -> Result<Builder, String> {
        match (self.access_key, self.secret_key) {
            (Some(access), Some(secret)) => builder = builder.keys(access, secret),
            (None, None) => {}
            _ => return Err("--access-key and --secret-key belong together".to_owned()),
        }
        if let Some(token) = self.session_token {
            builder = builder.session_token(token);
        }
        match (self.agent, self.pace) {
            (Some(_), Some(_)) => {
                return Err("--pace-ms is for the demo agent, not for --agent".to_owned());
            }
            (Some(url), None) => {
                builder = builder.agent(Agent::container(&url).map_err(|e| e.to_string())?);
            }
            (None, Some(pace)) => builder = builder.agent(Agent::demo_paced(pace)),
            (None, None) => {}
        }
        match (self.handler, self.gateway_flag) {
            (Some(command), _) => {
                let gateway = Gateway::new(words(&command)?);
                builder = builder.gateway(self.gateway.into_iter().fold(gateway, |g, set| set(g)));
            }
            (None, Some(flag)) => return Err(format!("{flag} needs --handler")),
            (None, None) => {}
        }
        let jwt_parts = !self.audiences.is_empty()
            || !self.clients.is_empty()
            || self.secret.is_some()
            || self.jwks.is_some();
        let Some(issuer) = self.issuer else {
            if jwt_parts {
                return Err("the other --jwt flags need --jwt-issuer".to_owned());
            }
            return Ok(if self.no_auth { builder.no_auth() } else { builder });
        };
        if self.no_auth {
            return Err("--no-auth and --jwt-issuer exclude each other".to_owned());
        }
        let mut jwt = JwtAuth::new(issuer);
        for audience in self.audiences {
            jwt = jwt.audience(audience);
        }
        for client in self.clients {
            jwt = jwt.client_id(client);
        }
        if let Some(secret) = self.secret {
            jwt = jwt.hs256_secret(secret);
        }
        if let Some(file) = self.jwks {
            let text = std::fs::read_to_string(&file)
                .map_err(|e| format!("--jwks: cannot read {file}: {e}"))?;
            jwt = jwt.jwks(&text).map_err(|e| format!("--jwks: {e}"))?;
        }
        Ok(builder.jwt(jwt))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(line: &str) -> String {
        let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        parse(&arguments).err().expect("refused")
    }

    #[test]
    fn refusals_help() {
        assert!(refused("--prot 1").contains("--prot"));
        assert!(refused("serve").contains("serve"));
        assert!(refused("--port").contains("needs a value"));
        assert!(refused("--port=x").contains("number"));
        assert!(refused("--port 70000").contains("number"));
        assert!(refused("--access-key a").contains("belong together"));
        assert!(refused("--jwt-client a").contains("--jwt-issuer"));
        assert!(refused("--agent https://x").contains("http://"));
        assert!(refused("--no-auth=1").contains("no value"));
        assert!(refused("--stage a").contains("--handler"));
        assert!(refused("--handler a --handler-env b").contains("NAME=VALUE"));
        assert!(refused("--handler 'a").contains("quote"));
    }

    #[test]
    fn commands_are_cut_into_words() {
        let cut = words("python  'my handler.py' --x=\"a b\" ''").expect("cut");
        assert_eq!(cut, ["python", "my handler.py", "--x=a b", ""]);
        assert!(words(" ").expect("cut").is_empty());
    }

    #[test]
    fn every_flag_of_the_code_is_in_the_help() {
        let code = include_str!("cli.rs");
        for line in code.lines().map(str::trim).filter(|l| l.starts_with("\"--")) {
            for flag in line.split('"').filter(|t| t.starts_with("--")) {
                assert!(HELP.contains(flag), "{flag}");
            }
        }
    }
}
