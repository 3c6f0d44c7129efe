//! What the demo says at its end.

use holdfast_sample::Community;

use super::stream::Summary;
use crate::cli::DemoArguments;
use crate::client::{Client, Credential, Credentials};

/// A patient to try requests with.
pub struct Example {
    /// The organization's record number.
    pub record_number: String,
    /// Logical id of the Patient.
    pub patient: String,
}

/// What became of the messages.
pub fn summary(summary: &Summary, counts: &serde_json::Value) {
    let sent: usize = summary.kinds.values().map(|(sent, _)| sent).sum();
    let seconds = summary.took_ms as f64 / 1000.0;
    println!("Sent {sent} messages in {seconds:.1} s:");
    println!();
    for (kind, (sent, accepted)) in &summary.kinds {
        println!("    {kind:<10} {sent:>5} sent  {accepted:>5} accepted");
    }
    println!();
    let outcomes: Vec<_> = summary.outcomes.iter().map(|(name, n)| format!("{n} {name}")).collect();
    println!("    {}", outcomes.join(", "));
    for (reason, count) in &summary.refused {
        println!("    refused {count} × {reason}");
    }
    println!(
        "    {} patient records of {} persons; {} wait for a person to decide who they are",
        counts["patients"], counts["persons"], counts["reviews"]
    );
    println!();
}

/// Where everything is and how to sign in.
pub fn welcome(
    options: &DemoArguments,
    community: &Community,
    credentials: &Credentials,
    passphrase: &str,
    reader: &Client,
    clinician: &Credential,
    example: &Example,
) {
    let base = reader.base();
    let dir = options.dir.display();
    println!("Everybody's sign-in data, shown once:");
    println!();
    for organization in &community.organizations {
        println!("  {} ({})", organization.name, organization.slug);
        for person in credentials.people.iter().filter(|p| p.organization == organization.slug) {
            println!(
                "    {:<26} {:<22} {}  {}",
                person.user, person.role, person.password, person.totp_secret
            );
        }
    }
    println!();
    println!("  Columns: user, role, password, TOTP secret for an authenticator app.");
    println!("  A code without a phone: oathtool --totp --base32 SECRET");
    if let Some(path) = &options.credentials {
        println!("  The same, for commands that sign in: {}", path.display());
    }
    println!();
    println!("The passphrase of the root key, shown once: {passphrase}");
    println!();
    println!("Console      {base}/");
    for organization in &community.organizations {
        println!("FHIR base    {base}/fhir/{:<22} {}", organization.slug, organization.name);
    }
    println!("HL7 v2       {} (MLLP with TLS and client certificates)", options.mllp);
    println!("Certificate  {dir}/tls/authority.pem");
    println!();
    println!("Three requests that work as {} (token good for 15 idle minutes):", clinician.name);
    println!();
    let token = reader.token().map(|t| t.expose().as_str()).unwrap_or_default();
    let fhir = format!("{base}/fhir/{}", clinician.organization);
    println!("  H='Authorization: Bearer {token}'; C={dir}/tls/authority.pem");
    println!("  curl -s --cacert $C '{fhir}/metadata?_pretty=true'");
    println!(
        "  curl -s --cacert $C -H \"$H\" '{fhir}/Patient/_search' -d identifier={} -d _pretty=true",
        example.record_number
    );
    println!(
        "  curl -s --cacert $C -H \"$H\" \\\n    '{fhir}/Encounter?patient=Patient/{}&_sort=-date&_count=3&_pretty=true'",
        example.patient
    );
    println!();
    if options.exit {
        println!("Continue with: holdfast serve --dir {dir}");
    } else {
        println!("Serving. Ctrl-C stops; `holdfast serve --dir {dir}` continues.");
    }
}
