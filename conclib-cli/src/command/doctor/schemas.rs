//! Messages whose types differ between the members of a fleet, and those that did not decode.

use std::collections::{BTreeMap, BTreeSet};

use conclib::inspect::{InspectError, Inspector, Refusal, SchemasQuery, UndecodedMessage};
use serde::Serialize;

use crate::command::doctor::Findings;
use crate::output;

/// The most pages of messages that a member is asked for.
const MAX_PAGES: usize = 20;

/// The most messages that are listed as differing, and as not decoded.
const MAX_LISTED: usize = 50;

const ADVICE: &str = "end the update, or change the message in steps that both sides survive: docs/changing-a-message.md";

/// A message of two versions, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Skew {
    message: String,
    /// Each schema, with the members whose actors have it.
    schemas: Vec<SchemaOf>,
    /// The number of messages that did not decode.
    #[serde(skip_serializing_if = "Option::is_none")]
    undecoded: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct SchemaOf {
    /// `null` if the type of the message does not say it.
    schema: Option<String>,
    members: Vec<String>,
}

/// The schemas of each message, by member: those that types say.
type Schemas = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

/// Asks members for their messages, and lists what differs.
pub(super) async fn examine(inspector: &Inspector, members: &[String], findings: &mut Findings) {
    let (mut schemas, mut undecoded) = (Schemas::new(), Vec::new());
    for member in members {
        match read(inspector, member, &mut schemas).await {
            Ok(found) => undecoded.extend(found.into_iter().map(|found| (member.clone(), found))),
            Err(InspectError::Refused(Refusal::UnknownRequest { .. })) => findings.warn(
                "schemas",
                format!("{member} does not list its messages: its version of conclib is older"),
                "compare its messages by hand, or update it",
            ),
            Err(error) => findings.warn(
                "schemas",
                format!("{member} does not list its messages: {error}"),
                "try again",
            ),
        }
    }
    let differing: Vec<_> = schemas.iter().filter_map(differing).collect();
    if differing.is_empty() && undecoded.is_empty() && !schemas.is_empty() {
        let count = schemas.len();
        return findings.ok("schemas", format!("{count} messages, and no differences"));
    }
    report(differing, undecoded, findings);
}

/// Adds the messages of a member, and returns those that did not decode.
async fn read(
    inspector: &Inspector,
    member: &str,
    schemas: &mut Schemas,
) -> Result<Vec<UndecodedMessage>, InspectError> {
    let (mut query, mut undecoded) = (SchemasQuery::new(), Vec::new());
    for _ in 0..MAX_PAGES {
        let page = inspector.ask(member, &query).await?;
        undecoded.extend(page.undecoded);
        for message in page.messages {
            let Some(schema) = message.schema else {
                continue; // nothing to compare
            };
            let of_message = schemas.entry(message.message.into_owned()).or_default();
            let of_member = of_message.entry(member.to_owned()).or_default();
            of_member.insert(schema.into_owned());
        }
        let Some(next) = page.next else { break };
        query = SchemasQuery::new().after(next);
    }
    Ok(undecoded)
}

/// The schemas of a message that differ between members. A member may have several types of one name: another one that has some of
/// these does not differ.
fn differing((message, by_member): (&String, &BTreeMap<String, BTreeSet<String>>)) -> Option<Skew> {
    let largest = by_member.values().max_by_key(|schemas| schemas.len())?;
    if by_member.values().all(|schemas| schemas.is_subset(largest)) {
        return None;
    }
    let mut members: BTreeMap<&String, Vec<String>> = BTreeMap::new();
    for (member, schemas) in by_member {
        for schema in schemas {
            members.entry(schema).or_default().push(member.clone());
        }
    }
    let schemas = members.into_iter().map(|(schema, members)| SchemaOf {
        schema: Some(schema.clone()),
        members,
    });
    Some(Skew {
        message: message.clone(),
        schemas: schemas.collect(),
        undecoded: None,
    })
}

fn report(
    differing: Vec<Skew>,
    undecoded: Vec<(String, UndecodedMessage)>,
    findings: &mut Findings,
) {
    let omitted =
        differing.len().saturating_sub(MAX_LISTED) + undecoded.len().saturating_sub(MAX_LISTED);
    for skew in differing.into_iter().take(MAX_LISTED) {
        let lines = skew.schemas.iter().map(|of| {
            let schema = of.schema.as_deref().unwrap_or_default();
            format!("\n{schema}  ({})", of.members.join(", "))
        });
        let text = format!(
            "the members have several types of the message {}:{}",
            skew.message,
            lines.collect::<String>()
        );
        findings.skew(skew, text, ADVICE);
    }
    for (member, undecoded) in undecoded.into_iter().take(MAX_LISTED) {
        report_undecoded(member, undecoded, findings);
    }
    if omitted > 0 {
        let text = format!("{omitted} further messages differ or did not decode");
        findings.warn("schemas", text, ADVICE);
    }
}

fn report_undecoded(member: String, undecoded: UndecodedMessage, findings: &mut Findings) {
    let line = undecoded
        .schema
        .as_ref()
        .map_or_else(String::new, |schema| format!("\n{schema}  ({member})"));
    let times = if undecoded.count == 1 {
        "time"
    } else {
        "times"
    };
    let text = format!(
        "the message {} did not decode at {member}, {} {times}, last {} ago: a sender has another type of it{line}",
        undecoded.message,
        undecoded.count,
        output::duration(undecoded.age)
    );
    let skew = Skew {
        message: undecoded.message.into_owned(),
        schemas: vec![SchemaOf {
            schema: undecoded.schema.map(std::borrow::Cow::into_owned),
            members: vec![member],
        }],
        undecoded: Some(undecoded.count),
    };
    findings.skew(
        skew,
        text,
        "compare with the sender's version; docs/changing-a-message.md has the rules",
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_skewed(members: &[(&str, &[&str])]) -> bool {
        let members = members.iter().map(|(member, schemas)| {
            let schemas = schemas.iter().map(ToString::to_string).collect();
            ((*member).to_owned(), schemas)
        });
        differing((&"Greet".to_owned(), &members.collect())).is_some()
    }

    #[test]
    fn members_differ_in_schemas_and_not_in_what_they_have() {
        assert!(!is_skewed(&[("a", &["1"]), ("b", &["1"])]));
        assert!(is_skewed(&[("a", &["1"]), ("b", &["2"])]));
        assert!(!is_skewed(&[("a", &["1", "2"]), ("b", &["2"])]));
        assert!(is_skewed(&[
            ("a", &["1", "2"]),
            ("b", &["2"]),
            ("c", &["3"])
        ]));
        assert!(!is_skewed(&[("a", &[])]));
    }
}
