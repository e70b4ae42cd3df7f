//! The commands, each in a module of its own.

use conclib::{Config, ProxyClient};

use crate::args::{Cli, Command};
use crate::exit::Failure;
use crate::output::Output;

pub(crate) mod acl;
pub(crate) mod act;
pub(crate) mod actor;
pub(crate) mod ask;
pub(crate) mod completions;
pub(crate) mod confirm;
pub(crate) mod dead;
pub(crate) mod doctor;
pub(crate) mod durable;
pub(crate) mod facts;
pub(crate) mod failures;
pub(crate) mod filter;
pub(crate) mod inspection;
pub(crate) mod ls;
pub(crate) mod metrics;
pub(crate) mod ping;
pub(crate) mod status;
pub(crate) mod top;
pub(crate) mod tree;

/// Runs the command of these arguments.
pub(crate) async fn run(cli: Cli, output: Output) -> Result<(), Failure> {
    if let Command::Completions(command) = &cli.command {
        return command.run(output);
    }
    let config = cli.connection.config()?;
    let role = role_of(&cli.command);
    let ended = dispatch(cli.command, &config, output).await;
    ended.map_err(|failure| failure.for_role(role))
}

/// The role of the Redis user that a command needs.
fn role_of(command: &Command) -> &'static str {
    match command {
        Command::Ask(_) | Command::Tell(_) | Command::Ping(_) => "client",
        Command::Stop(_)
        | Command::Kill(_)
        | Command::Restart(_)
        | Command::Drain(_)
        | Command::Log(_)
        | Command::Dead(_)
        | Command::Durable(_) => "operator",
        _ => "observer",
    }
}

async fn dispatch(command: Command, config: &Config, output: Output) -> Result<(), Failure> {
    match command {
        Command::Ask(command) => command.run(config, output).await,
        Command::Tell(command) => command.run(config, output).await,
        Command::Ping(command) => command.run(config, output).await,
        Command::Status(command) => command.run(config, output).await,
        Command::Doctor(command) => command.run(config, output).await,
        Command::Ls(command) => command.run(config, output).await,
        Command::Actor(command) => command.run(config, output).await,
        Command::Tree(command) => command.run(config, output).await,
        Command::Top(command) => command.run(config, output).await,
        Command::Failures(command) => command.run(config, output).await,
        Command::Metrics(command) => command.run(config, output).await,
        Command::Stop(command) => command.run(config, output).await,
        Command::Kill(command) => command.run(config, output).await,
        Command::Restart(command) => command.run(config, output).await,
        Command::Drain(command) => command.run(config, output).await,
        Command::Log(command) => command.run(config, output).await,
        Command::Dead(command) => command.run(config, output).await,
        Command::Durable(command) => command.run(config, output).await,
        Command::Acl(command) => command.run(config, output),
        Command::Completions(_) => Ok(()), // above: it needs no bus
    }
}

/// Connects as a client.
async fn client(config: &Config) -> Result<ProxyClient, Failure> {
    Ok(ProxyClient::connect(config).await?)
}

/// The value of a variable of the config, for the output.
fn setting(config: &Config, name: &str) -> String {
    let variables = config.variables().into_iter();
    let mut found = variables.filter(|(known, _)| *known == name);
    found.next().map_or_else(String::new, |(_, value)| value)
}

/// The namespace of the config.
fn namespace(config: &Config) -> String {
    setting(config, "CONCLIB_NAMESPACE")
}

/// Fails for a fleet, which has no durable messages.
fn refuse_fleet(config: &Config) -> Result<(), Failure> {
    if !is_fleet(config) {
        return Ok(());
    }
    Err(
        Failure::usage("a fleet has no durable messages and no dead letters")
            .advise("name the node that has them, without --fleet and CONCLIB_FLEET: --node NAME"),
    )
}

/// True if the config is for the members of a fleet.
fn is_fleet(config: &Config) -> bool {
    setting(config, "CONCLIB_FLEET") == "1"
}
