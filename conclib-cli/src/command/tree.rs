//! `tree`: actors and their children.

use clap::Args;
use conclib::inspect::{Inspector, TreeNode, TreeQuery};
use conclib::{Config, Urn};
use serde::Serialize;

use crate::command::inspection::{connect, members, short_type};
use crate::exit::Failure;
use crate::output::{self, Output};

/// The most actors of a page.
const PAGE: usize = 500;

/// Show actors with their children
#[derive(Debug, Args)]
pub(crate) struct Tree {
    /// URN of the actor to begin with
    root: Option<Urn>,
    /// Show this many levels of children
    #[arg(long, value_name = "LEVELS")]
    depth: Option<u16>,
    /// Show at most this many actors of each node
    #[arg(long, default_value_t = 1000, value_name = "NUMBER")]
    limit: usize,
}

/// The actors of a node as JSON, parents before their children.
#[derive(Serialize)]
struct TreeObject {
    node: String,
    actors: Vec<NodeObject>,
    /// The number of actors, also of those that are not shown.
    matching: usize,
}

#[derive(Serialize)]
struct NodeObject {
    urn: String,
    depth: u16,
    actor_type: String,
    phase: String,
    queued: usize,
    children: usize,
}

impl From<&TreeNode> for NodeObject {
    fn from(node: &TreeNode) -> Self {
        Self {
            urn: node.urn.to_string(),
            depth: node.depth,
            actor_type: node.actor_type.to_string(),
            phase: node.phase.to_string(),
            queued: node.queued,
            children: node.children,
        }
    }
}

impl Tree {
    pub(crate) async fn run(self, config: &Config, output: Output) -> Result<(), Failure> {
        let inspector = connect(config).await?;
        let members = members(&inspector).await?;
        let mut trees = Vec::new();
        let mut refused = None;
        for member in &members {
            match self.read(&inspector, &member.node).await {
                Ok((nodes, matching)) => trees.push((&member.node, nodes, matching)),
                Err(failure) => refused = Some((&member.node, failure)),
            }
        }
        match refused {
            // Not every member has the root.
            Some((_, failure)) if trees.is_empty() => return Err(failure),
            Some((node, failure)) if self.root.is_none() => {
                let text = format!("no answer of {node}: {}", failure.text);
                output.note("no_answer", &text);
            }
            _ => {}
        }
        if output.json {
            let trees = trees.into_iter().map(|(node, nodes, matching)| TreeObject {
                node: node.clone(),
                actors: nodes.iter().map(NodeObject::from).collect(),
                matching,
            });
            return output.json(&trees.collect::<Vec<_>>());
        }
        for (node, nodes, matching) in trees {
            if members.len() > 1 {
                output.line(node)?;
            }
            for actor in &nodes {
                output.line(&line(actor))?;
            }
            if nodes.len() < matching {
                let text = format!("{} of {matching} actors of {node}", nodes.len());
                output.note_to_people(&text);
            }
        }
        Ok(())
    }

    /// Reads the pages of one node.
    async fn read(
        &self,
        inspector: &Inspector,
        node: &str,
    ) -> Result<(Vec<TreeNode>, usize), Failure> {
        let mut query = TreeQuery::new();
        query.root.clone_from(&self.root);
        query.depth = self.depth.unwrap_or(u16::MAX);
        let mut nodes = Vec::new();
        loop {
            query.limit = PAGE.min(self.limit - nodes.len());
            let page = inspector.ask(node, &query).await?;
            nodes.extend(page.nodes);
            query.after = page.next;
            if query.after.is_none() || nodes.len() >= self.limit {
                return Ok((nodes, page.matching));
            }
        }
    }
}

fn line(actor: &TreeNode) -> String {
    let indent = "  ".repeat(usize::from(actor.depth));
    let queued = match actor.queued {
        0 => String::new(),
        queued => format!(", {queued} queued"),
    };
    let text = format!(
        "{indent}{} ({}, {}{queued})",
        actor.urn,
        short_type(&actor.actor_type),
        actor.phase
    );
    output::printable(&text)
}
