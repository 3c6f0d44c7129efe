//! What the drill prints: the attacker's steps and the ledger's, side by side.

use holdfast_base::Timestamp;

use super::Story;
use super::attack::Reached;
use crate::client::{Client, Credential};
use crate::failure::Failure;

pub async fn print(
    story: &Story,
    office: &Client,
    victim: &Credential,
    began: Timestamp,
    reached: &Reached,
    scope: &serde_json::Value,
    incident: Option<u64>,
) -> Result<(), Failure> {
    let mut lines: Vec<(Timestamp, String, String)> =
        story.lines.iter().map(|line| (line.at, line.who.to_owned(), line.what.clone())).collect();
    for kind in ["alert", "containment", "incident-step"] {
        let path = format!("/ops/ledger/entries?kind={kind}&from={began}");
        let answer = office.get(&path).await?.accepted()?.json()?;
        for placed in answer["entries"].as_array().into_iter().flatten() {
            let entry = &placed["entry"];
            let at = entry["at"].as_str().and_then(|text| text.parse().ok()).unwrap_or(began);
            lines.push((at, "ledger".into(), describe(placed)));
        }
    }
    lines.sort_by_key(|line| line.0);
    println!("Drill mie-2015, {began}");
    println!();
    for (at, who, what) in &lines {
        println!("  +{:>7.2} s  {who:<9} {what}", at.millis_since(began) as f64 / 1000.0);
    }
    println!();
    let suspended =
        lines.iter().find(|(_, who, what)| who == "ledger" && what.contains("suspended"));
    let read_from = story.lines.iter().find(|line| line.what.starts_with("reads chart"));
    if let (Some((at, ..)), Some(line)) = (suspended, read_from) {
        let seconds = at.millis_since(line.at) as f64 / 1000.0;
        println!("Suspended {seconds:.2} s after the first chart. In 2015 it took 19 days.");
    }
    let totals = &scope["totals"];
    println!(
        "Reached before: {} patient records by the attacker's count, {} by the ledger's upper bound, \
         of {} persons.",
        reached.patients.len(),
        totals["patients"],
        totals["persons"]
    );
    if let Some(incident) = incident {
        println!();
        println!("Incident {incident}. What the law now asks for:");
        println!("  holdfast scope --principal {} --format csv …", victim.user);
        println!("  holdfast respond draft --incident {incident} --out notices …");
    }
    Ok(())
}

fn describe(placed: &serde_json::Value) -> String {
    let event = &placed["entry"]["event"];
    let text = |name: &str| event[name].as_str().unwrap_or_default();
    let what = match text("kind") {
        "alert" => format!(
            "alert {} ({}): {} [{} patients]",
            text("detector"),
            text("severity"),
            text("summary"),
            event["patients_count"]
        ),
        "containment" => format!("{} {}: {}", text("principal"), text("action"), text("reason")),
        _ => format!("incident {} {}: {}", event["incident"], text("step"), text("note")),
    };
    format!("#{} {what}", placed["index"])
}
