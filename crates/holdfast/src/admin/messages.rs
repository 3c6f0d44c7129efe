//! `holdfast message`: what waits or was refused.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::args::MessageTask;
use super::{escaped, text};
use crate::client::{Client, write_private};
use crate::commands::signed_in;
use crate::failure::Failure;

/// Who sees what waits and has it tried again.
const WORKERS: &[&str] = &["administrator", "privacy-officer", "registrar"];
/// Who opens one.
const OPENERS: &[&str] = &["privacy-officer"];

/// Does one task.
///
/// # Errors
/// What the exchange refuses, and why; exit code 1 when something was refused again.
pub async fn run(task: MessageTask) -> Result<(), Failure> {
    match task {
        MessageTask::List { sign_in, organization, category, after, limit } => {
            let client = signed_in(&sign_in, WORKERS).await?;
            list(&client, (organization, category), after, limit).await
        }
        MessageTask::Show { sign_in, message, reason, out } => {
            let client = signed_in(&sign_in, OPENERS).await?;
            let path = format!("/ops/messages/{message}/show");
            let answer = client.post_json(&path, &json!({ "reason": reason })).await?;
            show(&answer.accepted()?.json()?, out.as_deref())
        }
        MessageTask::Replay { sign_in, message, category, organization } => {
            let client = signed_in(&sign_in, WORKERS).await?;
            match message {
                Some(message) => {
                    let path = format!("/ops/messages/{message}/replay");
                    let answer = client.post_json(&path, &json!({})).await?.accepted()?.json()?;
                    let mut told = Told::default();
                    told.take(&answer);
                    told.end()
                }
                None => replay_all(&client, organization, category).await,
            }
        }
    }
}

async fn list(
    client: &Client,
    (organization, category): (Option<String>, Option<String>),
    after: Option<u64>,
    limit: usize,
) -> Result<(), Failure> {
    let mut after = after;
    let mut shown = 0;
    // A page may be cut short where many were accepted in between.
    while shown < limit {
        let mut query = format!("limit={}", limit - shown);
        for (name, value) in [("organization", &organization), ("category", &category)] {
            if let Some(value) = value {
                query.push_str(&format!("&{name}={}", escaped(value)));
            }
        }
        if let Some(after) = after {
            query.push_str(&format!("&after={after}"));
        }
        let answer = client.get(&format!("/ops/messages?{query}")).await?.accepted()?.json()?;
        for message in answer["messages"].as_array().into_iter().flatten() {
            print(message);
            shown += 1;
        }
        after = answer["next"].as_u64();
        if after.is_none() {
            break;
        }
    }
    match (shown, after) {
        (0, _) => println!("nothing waits, nothing was refused"),
        (_, Some(after)) => eprintln!("there may be more: --after {after}"),
        _ => {}
    }
    Ok(())
}

fn print(message: &Value) {
    let line = format!(
        "{:>8}  {}  {:<24} {:<28} {:<6} {:<9} {:<18} {}",
        message["message"],
        text(message, "received"),
        text(message, "organization"),
        text(message, "sender"),
        text(message, "format"),
        text(message, "state"),
        text(message, "category"),
        text(message, "reason"),
    );
    println!("{}", line.trim_end());
}

fn show(answer: &Value, out: Option<&Path>) -> Result<(), Failure> {
    for issue in answer["issues"].as_array().into_iter().flatten() {
        eprintln!("{}: {}", text(issue, "place"), text(issue, "text"));
    }
    match out {
        Some(path) => {
            let bytes = data_encoding::BASE64.decode(text(answer, "payload_base64").as_bytes());
            write_private(path, &bytes.map_err(|_| Failure::new("the exchange sent no payload"))?)
        }
        None => {
            println!("{}", text(answer, "payload_text"));
            Ok(())
        }
    }
}

/// What became of those that were tried again.
#[derive(Default)]
struct Told {
    total: usize,
    unfinished: usize,
    stopped: Option<String>,
}

impl Told {
    fn take(&mut self, answer: &Value) {
        for message in answer["messages"].as_array().into_iter().flatten() {
            print(message);
            self.total += 1;
            self.unfinished +=
                usize::from(!matches!(text(message, "state"), "accepted" | "duplicate"));
        }
        self.stopped = answer["stopped"].as_str().map(str::to_owned);
    }

    fn end(self) -> Result<(), Failure> {
        let done = self.total - self.unfinished;
        println!("{} tried again: {done} part of a record now", self.total);
        if let Some(why) = self.stopped {
            return Err(Failure::negative(format!(
                "stopped: {why}. What waits is processed by itself; try the others again later"
            )));
        }
        match self.unfinished {
            0 => Ok(()),
            count => Err(Failure::negative(format!("{count} did not become part of a record"))),
        }
    }
}

async fn replay_all(
    client: &Client,
    organization: Option<String>,
    category: Option<String>,
) -> Result<(), Failure> {
    let mut told = Told::default();
    let mut after = None;
    loop {
        let mut order = Map::new();
        order.insert("category".to_owned(), json!(category));
        order.insert("organization".to_owned(), json!(organization));
        order.insert("after".to_owned(), json!(after));
        let path = "/ops/messages/replay";
        let answer = client.post_json(path, &Value::Object(order)).await?.accepted()?.json()?;
        told.take(&answer);
        after = answer["next"].as_u64();
        if after.is_none() || told.stopped.is_some() {
            return told.end();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_did_not_work_is_exit_code_1() {
        let of = |states: &[&str], stopped: Option<&str>| {
            let messages: Vec<Value> = states.iter().map(|s| json!({ "state": s })).collect();
            let mut told = Told::default();
            told.take(&json!({ "messages": messages, "stopped": stopped }));
            told.end().err().map(|failure| failure.code())
        };
        assert_eq!(of(&["accepted", "duplicate"], None), None);
        assert_eq!(of(&["accepted", "refused"], None), Some(1));
        assert_eq!(of(&["waiting"], Some("the keeper is away")), Some(1));
        assert_eq!(of(&[], None), None);
    }
}
