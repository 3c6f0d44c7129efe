//! Sends a sample stream through the real doors: HL7 v2 over MLLP with TLS, C-CDA
//! and FHIR over HTTPS, each from the system that would send it, in order.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use holdfast_exchange::{hl7v2, mllp};
use holdfast_sample::{Channel, Item, Options};
use indicatif::{ProgressBar, ProgressStyle};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::community::People;
use crate::client::Client;
use crate::config::Config;
use crate::failure::Failure;
use crate::tls::{Identity, authority_path};

/// What became of a stream.
#[derive(Default)]
pub struct Summary {
    /// Messages by kind: sent, accepted.
    pub kinds: BTreeMap<String, (usize, usize)>,
    /// Reasons of refusals, counted.
    pub refused: BTreeMap<String, usize>,
    /// Outcomes, counted.
    pub outcomes: BTreeMap<String, usize>,
    /// How long it took, milliseconds.
    pub took_ms: u64,
}

impl Summary {
    fn note(&mut self, kind: &str, outcome: &str, reason: Option<String>) {
        let of_kind = self.kinds.entry(kind.to_owned()).or_default();
        of_kind.0 += 1;
        if outcome == "accepted" {
            of_kind.1 += 1;
        }
        *self.outcomes.entry(outcome.to_owned()).or_default() += 1;
        if let Some(reason) = reason {
            *self.refused.entry(format!("{kind}: {reason}")).or_default() += 1;
        }
    }
}

/// Sends the stream of `options`; each system's messages in order, the systems
/// side by side.
///
/// # Errors
/// When a door cannot be reached. What a door refuses is in the summary.
pub(super) async fn send(
    dir: &Path,
    config: &Config,
    people: &People,
    options: &Options,
) -> Result<Summary, Failure> {
    let mut queues: BTreeMap<String, Vec<Item>> = BTreeMap::new();
    let items = holdfast_sample::stream(options).items;
    let bar = ProgressBar::new(items.len() as u64);
    bar.set_style(progress_style());
    for item in items {
        queues.entry(item.interface.to_string()).or_default().push(item);
    }
    let summary = Arc::new(Mutex::new(Summary::default()));
    let mut senders = tokio::task::JoinSet::new();
    for queue in queues.into_values() {
        let Some(first) = queue.first() else { continue };
        let identity = people
            .systems
            .get(&first.interface)
            .cloned()
            .ok_or_else(|| Failure::new(format!("{} has no certificate", first.interface)))?;
        let (dir, config, bar) = (dir.to_owned(), config.clone(), bar.clone());
        let summary = Arc::clone(&summary);
        senders.spawn(async move {
            match first_channel(&queue) {
                Channel::Hl7v2 => send_mllp(&dir, &config, &identity, queue, &bar, &summary).await,
                _ => send_https(&dir, &config, &identity, queue, &bar, &summary).await,
            }
        });
    }
    while let Some(sent) = senders.join_next().await {
        sent.map_err(|_| Failure::new("a sender failed"))??;
    }
    bar.finish_and_clear();
    let took_ms = bar.elapsed().as_millis() as u64;
    let summary =
        Arc::try_unwrap(summary).map_err(|_| Failure::new("a sender is still at work"))?;
    let summary = summary.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    Ok(Summary { took_ms, ..summary })
}

fn progress_style() -> ProgressStyle {
    ProgressStyle::with_template("sending {bar:40} {pos}/{len} messages, {per_sec}, {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn first_channel(queue: &[Item]) -> Channel {
    queue.first().map_or(Channel::Hl7v2, |item| item.channel)
}

fn note(summary: &Mutex<Summary>, item: &Item, outcome: &str, reason: Option<String>) {
    let mut summary = summary.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    summary.note(item.kind, outcome, reason);
}

async fn send_https(
    dir: &Path,
    config: &Config,
    identity: &Identity,
    queue: Vec<Item>,
    bar: &ProgressBar,
    summary: &Mutex<Summary>,
) -> Result<(), Failure> {
    let client = Client::of_system(dir, config, identity)?;
    for item in queue {
        let content_type = match item.channel {
            Channel::Ccda => "application/xml",
            _ => "application/fhir+json",
        };
        let path = format!("/intake/{}", item.organization);
        let answer = client.post(&path, content_type, item.bytes.clone()).await?;
        let answer = answer.accepted()?.json()?;
        let admission = &answer["admissions"][0];
        let reason = admission["reason"].as_str().map(str::to_owned);
        note(summary, &item, admission["outcome"].as_str().unwrap_or("unsent"), reason);
        bar.inc(1);
    }
    Ok(())
}

async fn send_mllp(
    dir: &Path,
    config: &Config,
    identity: &Identity,
    queue: Vec<Item>,
    bar: &ProgressBar,
    summary: &Mutex<Summary>,
) -> Result<(), Failure> {
    let mut connection = MllpConnection::open(dir, config, identity).await?;
    for item in queue {
        let acknowledgement = connection.send(&item.bytes).await?;
        let (code, reason) = read_acknowledgement(&acknowledgement);
        let outcome = match code.as_str() {
            "AA" | "CA" => "accepted",
            _ => "refused",
        };
        note(summary, &item, outcome, reason.filter(|_| outcome == "refused"));
        bar.inc(1);
    }
    Ok(())
}

/// MSA-1 and, for a refusal, the text of the first ERR segment.
pub fn read_acknowledgement(bytes: &[u8]) -> (String, Option<String>) {
    let Ok(message) = hl7v2::parse(bytes) else { return ("AR".into(), Some("no HL7 v2".into())) };
    let field = |segment: &str, number| {
        message.segment(segment).map(|s| s.field(number).text().into_owned())
    };
    let reason = field("ERR", 8).or_else(|| field("MSA", 3));
    (field("MSA", 1).unwrap_or_default(), reason)
}

/// A connection to the MLLP door that shows a system's certificate.
pub struct MllpConnection {
    stream: tokio_rustls::client::TlsStream<TcpStream>,
    decoder: mllp::Decoder,
}

impl MllpConnection {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens or the certificates do not fit.
    pub async fn open(dir: &Path, config: &Config, identity: &Identity) -> Result<Self, Failure> {
        crate::wiring::install_tls_provider();
        let unusable = |_| Failure::new("a certificate cannot be read");
        let path = authority_path(dir);
        let pem = std::fs::read(&path).map_err(|error| Failure::io("read", &path, &error))?;
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let _ = roots.add(certificate.map_err(unusable)?);
        }
        let chain: Result<Vec<_>, _> =
            CertificateDer::pem_slice_iter(identity.certificate_pem.as_bytes()).collect();
        let key = PrivateKeyDer::from_pem_slice(identity.key_pem.expose().as_bytes())
            .map_err(unusable)?;
        let tls = rustls::ClientConfig::builder()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain.map_err(unusable)?, key)
            .map_err(|error| {
                Failure::new(format!("the client certificate cannot be used: {error}"))
            })?;
        let unreachable = |error: std::io::Error| {
            Failure::new(format!("no answer from the HL7 v2 door at {}: {error}", config.mllp))
        };
        let tcp = TcpStream::connect(config.mllp).await.map_err(unreachable)?;
        let _ = tcp.set_nodelay(true);
        let name = ServerName::try_from("localhost").map_err(|_| Failure::new("no host name"))?;
        let stream =
            TlsConnector::from(Arc::new(tls)).connect(name, tcp).await.map_err(unreachable)?;
        Ok(Self { stream, decoder: mllp::Decoder::default() })
    }

    /// Sends one message and waits for its acknowledgement.
    ///
    /// # Errors
    /// When the door closes the connection.
    pub async fn send(&mut self, message: &[u8]) -> Result<Vec<u8>, Failure> {
        let closed = |_| Failure::new("the HL7 v2 door closed the connection");
        self.stream.write_all(&mllp::frame(message)).await.map_err(closed)?;
        self.stream.flush().await.map_err(closed)?;
        let mut buffer = [0; 8192];
        loop {
            if let Some(Ok(answer)) = self.decoder.next() {
                return Ok(answer);
            }
            let read = self.stream.read(&mut buffer).await.map_err(closed)?;
            if read == 0 {
                return Err(Failure::new("the HL7 v2 door closed the connection"));
            }
            self.decoder.feed(&buffer[..read]);
        }
    }
}
