//! Renders the console's pages with invented data into a folder, to be looked at:
//! `cargo run -p holdfast-server --example console_gallery -- /tmp/gallery`.
//! Nobody in here exists.

#[path = "console_gallery/people.rs"]
mod people;

#[allow(dead_code, unused_imports, reason = "the console uses all of it")]
#[path = "../src/console/page/mod.rs"]
mod page;

#[allow(dead_code, unused_imports, reason = "the console uses all of it")]
#[path = "../src/console/view/mod.rs"]
mod view;

use std::path::{Path, PathBuf};

use holdfast_base::{IncidentId, MessageId, OrganizationId, PrincipalId, Purpose, Timestamp};
use holdfast_exchange::{
    AccountView, FindingView, InboxItem, Incident, KeptView, LedgerState, Look, Module,
    OrganizationView, ReviewItem, Role, Scope,
};
use maud::Markup;
use page::{Asked, Desk, Finding, Handed, IncidentView, Kept, Place, Staff, Viewer};
use serde_json::json;
use view::{Moment, chart_view, found_row};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let folder = std::env::args_os().nth(1).map_or_else(|| "console-gallery".into(), PathBuf::from);
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join(page::style_path().trim_start_matches('/')), page::STYLE)?;

    let today = Moment::of(at("2026-03-08T15:20:00Z")?);
    let chart = people::chart()?;
    let view = chart_view(&chart, Purpose::Treatment, false, &today);
    let reader = viewer("Dr. Amara Okafor", "Clinician", vec![Place::Patients, Place::Inbox]);
    let rows =
        vec![found_row(&chart.own.patient, &today), found_row(&chart.linked[0].patient, &today)];
    let asked =
        Asked { name: "lindqv".into(), organization: "lakeside-family".into(), ..Asked::default() };
    let organizations = [
        ("lakeside-family".to_owned(), "Lakeside Family Practice".to_owned()),
        ("mercy-general".to_owned(), "Mercy General Hospital".to_owned()),
    ];
    let found = Finding::Rows(rows, 2);

    save(&folder, "sign-in", page::sign_in("", None))?;
    let wrong =
        "User name, password and code do not belong together. Try again, with a fresh code.";
    save(&folder, "sign-in-wrong", page::sign_in("dr.okafor", Some(wrong)))?;
    save(&folder, "chart", page::chart(&reader, &view, Some("/office/who")))?;
    save(&folder, "look-up", page::look_up(&reader, &organizations, &asked, &found, true))?;
    save(&folder, "inbox", page::inbox(&reader, &inbox()?, &name_of))?;
    save(&folder, "reviews", page::reviews(&reader, &reviews()?, &name_of))?;
    let sentence =
        "Wait a minute and try again; if it stays so, call the operator. Nothing is lost.";
    let number = "9f2c0b7d41e84f0c8a55d3b1a7e6c210";
    save(
        &folder,
        "message",
        page::message(None, "No record can be opened right now", sentence, number),
    )?;

    let places = vec![Place::Office, Place::Patients, Place::Messages];
    let officer = viewer("Ruth Adeyemi", "Privacy officer", places);
    save(&folder, "office", page::office(&officer, &desk()?, None))?;
    let incident = IncidentView {
        incident: incident()?,
        scope: scope()?,
        account: Some(accounts()?.remove(0)),
        now: at("2026-03-08T15:20:00Z")?,
    };
    save(&folder, "incident", page::incident(&officer, &incident, &name_of))?;
    save(
        &folder,
        "who-looked",
        page::looks(&officer, "lakeside-family", "5c21", &looks()?, &name_of),
    )?;
    let runs = viewer("Jo Moss", "Administrator", vec![Place::Accounts, Place::Messages]);
    let staff = Staff { organizations: organization_views()?, accounts: accounts()? };
    let words = |role: Role| role.as_str();
    save(&folder, "accounts", page::accounts(&runs, &staff, None, &words))?;
    let handed = Handed::Secrets {
        password: "kq3jw-7hx2p-mmzra-5cvte".into(),
        totp_secret: "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ".into(),
        totp_url: "otpauth://totp/Holdfast:dr.okafor?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Holdfast".into(),
    };
    save(&folder, "handed-over", page::handed_over(&runs, "dr.okafor", &handed))?;
    let messages = kept_messages()?;
    let text = "MSH|^~\\&|CHARTWELL|LAKESIDEFM|X|Y|20260101||ADT^A04|M1|P|2.5.1\nPV1|1|O";
    save(&folder, "message-shown", page::shown(&officer, &messages[1], text, &name_of))?;
    let kept = Kept { messages, next: None, category: None, opens: true };
    save(&folder, "messages", page::kept(&officer, &kept, None, &name_of))?;
    println!("{}", folder.display());
    Ok(())
}

fn organization_views() -> Outcome<Vec<OrganizationView>> {
    let view = |id: &str, module, place: &str, suspended: Option<&str>| -> Outcome<_> {
        Ok(OrganizationView {
            id: OrganizationId::new(id)?,
            name: name_of(id),
            module,
            place: place.into(),
            suspended: suspended.map(str::to_owned),
        })
    };
    Ok(vec![
        view("exchange", Module::Operator, ", ", None)?,
        view("lakeside-family", Module::Practice, "Fort Wayne, IN", None)?,
        view(
            "tri-county-lab",
            Module::Laboratory,
            "Columbia City, IN",
            Some("network broken into"),
        )?,
    ])
}

fn kept_messages() -> Outcome<Vec<KeptView>> {
    let view = |message: u64, state, category: Option<&str>, reason: Option<&str>| -> Outcome<_> {
        Ok(KeptView {
            message: MessageId(message),
            organization: OrganizationId::new("lakeside-family")?,
            sender: PrincipalId::new("hl7v2@lakeside-family")?,
            received: at("2026-03-08T14:02:11Z")?,
            format: "hl7v2",
            state,
            category: category.map(str::to_owned),
            reason: reason.map(str::to_owned),
            issues: Vec::new(),
        })
    };
    let over = "writing to more patients than the budget allows";
    Ok(vec![
        view(4_713, "waiting", None, None)?,
        view(
            4_711,
            "refused",
            Some("missing"),
            Some("required patient segment is missing at PID"),
        )?,
        view(4_702, "refused", Some("over-budget"), Some(over))?,
    ])
}

/// Writes one page; its links to the style sheet and to pages stay within the folder.
fn save(folder: &Path, name: &str, markup: Markup) -> std::io::Result<()> {
    let html = markup.into_string().replace("href=\"/console-", "href=\"console-");
    std::fs::write(folder.join(format!("{name}.html")), html)
}

fn at(text: &str) -> Outcome<Timestamp> {
    Ok(text.parse()?)
}

fn viewer(name: &str, role: &str, places: Vec<Place>) -> Viewer {
    let organization = "Lakeside Family Practice".to_owned();
    Viewer { name: name.into(), organization, role: role.into(), places }
}

fn name_of(id: &str) -> String {
    match id {
        "lakeside-family" => "Lakeside Family Practice",
        "mercy-general" => "Mercy General Hospital",
        "tri-county-lab" => "Tri-County Laboratory",
        other => other,
    }
    .to_owned()
}

fn inbox() -> Outcome<Vec<InboxItem>> {
    let item = |when: &str, what: &str, from: &str, documents: usize| -> Outcome<InboxItem> {
        Ok(InboxItem {
            at: at(when)?,
            recipient: OrganizationId::new("lakeside-family")?,
            what: what.into(),
            organization: OrganizationId::new(from)?,
            patient: "5c21".into(),
            resources: vec![("DiagnosticReport".into(), "d".into()); documents],
        })
    };
    Ok(vec![
        item("2026-03-08T14:02:00Z", "result", "tri-county-lab", 2)?,
        item("2026-03-07T21:40:00Z", "discharge", "mercy-general", 0)?,
        item("2026-03-07T09:12:00Z", "report", "mercy-general", 1)?,
    ])
}

fn reviews() -> Outcome<Vec<ReviewItem>> {
    Ok(vec![ReviewItem {
        at: at("2026-03-08T08:31:00Z")?,
        organization: OrganizationId::new("lakeside-family")?,
        patient: "b8d0c1f29a4e4d6f".into(),
    }])
}

fn looks() -> Outcome<Vec<Look>> {
    let look =
        |when: &str, who: &str, from: &str, purpose: &str, relationship: &str| -> Outcome<Look> {
            Ok(Look {
                at: at(when)?,
                principal: PrincipalId::new(who)?,
                organization: Some(OrganizationId::new(from)?),
                purpose: purpose.into(),
                relationship: relationship.into(),
                resources: vec![
                    ("Condition".into(), 4),
                    ("Observation".into(), 38),
                    ("Patient".into(), 1),
                ],
            })
        };
    Ok(vec![
        look("2026-03-08T15:20:00Z", "dr.okafor", "lakeside-family", "TREAT", "care-team")?,
        look("2026-03-06T02:14:00Z", "j.marsh", "mercy-general", "ETREAT", "none")?,
    ])
}

fn accounts() -> Outcome<Vec<AccountView>> {
    let account =
        |id: &str, name: &str, role: Role, suspended: Option<&str>| -> Outcome<AccountView> {
            Ok(AccountView {
                id: PrincipalId::new(id)?,
                display_name: name.into(),
                organization: OrganizationId::new("lakeside-family")?,
                role,
                closed: false,
                npi: None,
                certificate: None,
                created: "2026-01-05T09:00:00Z".parse()?,
                suspended: suspended.map(str::to_owned),
            })
        };
    Ok(vec![
        account("svc.portal", "Patient portal", Role::System, Some("honey-record"))?,
        account("dr.okafor", "Dr. Amara Okafor", Role::Clinician, None)?,
    ])
}

fn incident() -> Outcome<Incident> {
    Ok(serde_json::from_value(json!({
        "id": 7, "opened": "2026-03-07T03:12:09.000Z", "discovered": "2026-03-07T03:12:08.000Z",
        "principal": "svc.portal", "status": "contained",
        "findings": [
            {"at": "2026-03-07T03:12:08.000Z", "detector": "honey-record", "severity": "critical", "patients_count": 1,
             "summary": "opened a record that nobody has a reason to open"},
            {"at": "2026-03-07T03:11:40.000Z", "detector": "refused-burst", "severity": "serious", "patients_count": 0,
             "summary": "41 requests were refused within a minute, 38 of them for malformed parameters"},
        ],
    }))?)
}

fn scope() -> Outcome<Scope> {
    let row = |organization: &str, patient: u8, state: &str, released: &[&str]| {
        json!({"organization": organization, "patient": format!("{patient:032x}"), "person": format!("{patient:032x}"),
            "residence": state, "released": released, "returned": released[..1], "resources": {"Patient": 1},
            "written": 0, "deliveries": 0, "first": "2026-03-07T03:10:00.000Z", "last": "2026-03-07T03:12:00.000Z", "entries": [1]})
    };
    let all = ["identity", "clinical", "government-id"];
    Ok(serde_json::from_value(json!({
        "rows": [row("lakeside-family", 1, "IN", &all), row("mercy-general", 2, "OH", &all[..2])],
        "totals": {"persons": 2131, "patients": 2416, "entries": 5012,
            "organizations": {"lakeside-family": {"persons": 1204, "patients": 1204}, "mercy-general": {"persons": 1108, "patients": 1212}},
            "states": {"IN": {"persons": 1873, "patients": 2120}, "OH": {"persons": 231, "patients": 268}, "unknown": {"persons": 27, "patients": 28}}},
    }))?)
}

fn desk() -> Outcome<Desk> {
    let incident = incident()?;
    let findings = incident.findings.iter().map(|finding| FindingView {
        at: finding.at,
        detector: finding.detector.clone(),
        principal: incident.principal.clone(),
        severity: finding.severity.clone(),
        patients_count: finding.patients_count,
        summary: finding.summary.clone(),
        incident: IncidentId(7),
    });
    let findings = findings.collect();
    let root = "4bc5f3a0c1d29e7788e0a5b6d3f41290aa17c2e85b9d60f4e3c2b1a09f8e7d6c".to_owned();
    let ledger = LedgerState {
        size: 184_203,
        checkpoint: format!("hie.example/ledger\n184203\n{root}\n\n— hie.example/ledger A9x0"),
        verifier_key: "hie.example/ledger+7f3a21c0+AXb1".into(),
        second_key: None,
        witnessed: None,
        root,
    };
    Ok(Desk {
        incidents: vec![incident],
        findings,
        accounts: accounts()?,
        ledger: Some(ledger),
        looks_of: Some("lakeside-family".into()),
    })
}
