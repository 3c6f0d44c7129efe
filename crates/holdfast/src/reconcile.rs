//! `holdfast ledger reconcile`: whether key releases, access details and the store tell
//! the same.

use serde_json::Value;

use crate::cli::{ScopeArguments, SignInArguments};
use crate::commands::{OFFICE, query_string, signed_in};
use crate::failure::Failure;

/// Asks the running exchange, and prints what it found.
///
/// # Errors
/// When it refuses, or there is a gap.
pub async fn run(
    sign_in: &SignInArguments,
    from: Option<String>,
    to: Option<String>,
    state: bool,
) -> Result<(), Failure> {
    let span = ScopeArguments { from, to, ..ScopeArguments::default() };
    let query = query_string(&span)?;
    // Officers of other organizations may not ask; the security officer is the office's.
    let roles: Vec<&str> = OFFICE.iter().rev().copied().collect();
    let client = signed_in(sign_in, &roles).await?;
    if state {
        let job = client.get("/ops/ledger/reconciliation").await?.accepted()?.json()?;
        let looked = job["looked_at"].as_str().unwrap_or("never yet");
        let (entries, commits) = (&job["entries_done"], &job["commits_done"]);
        println!(
            "looked last: {looked}; judged: entries before {entries}, commits up to {commits}"
        );
        return print(&job["found"]);
    }
    let path = format!("/ops/ledger/reconcile?{query}");
    let found = client.post_json(&path, &serde_json::json!({})).await?.accepted()?.json()?;
    print(&found)
}

fn print(found: &Value) -> Result<(), Failure> {
    println!(
        "compared: {} key releases, {} accesses, {} transactions",
        found["releases_count"], found["accesses_count"], found["commits_count"]
    );
    for gap in found["gaps"].as_array().into_iter().flatten() {
        let place = |name: &str| gap[name].as_u64().map(|number| format!(" {name} {number}"));
        let places: String = ["entry", "commit"].into_iter().filter_map(place).collect();
        let text = |name: &str| gap[name].as_str().unwrap_or_default().to_owned();
        println!("GAP{places}: {} ({})", text("gap"), text("principal"));
    }
    match found["gaps_count"].as_u64() {
        Some(0) => {
            println!("no gap");
            Ok(())
        }
        count => Err(Failure::negative(format!("{} gap(s)", count.unwrap_or_default()))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_gap_is_exit_code_1_and_no_gap_is_none() {
        let found = |gaps_count: u64| {
            json!({
                "releases_count": 3, "accesses_count": 4, "commits_count": 2,
                "gaps_count": gaps_count,
                "gaps": [{
                    "gap": "release-without-detail", "entry": 31, "commit": null,
                    "principal": "dr.okafor",
                }],
            })
        };
        assert!(print(&found(0)).is_ok());
        let failure = print(&found(1)).expect_err("a gap");
        assert_eq!((failure.code(), failure.to_string().as_str()), (1, "1 gap(s)"));
    }
}
