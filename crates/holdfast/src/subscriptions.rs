//! `holdfast subscription`, and the client that sends notifications.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use clap::Subcommand;
use holdfast_exchange::{Exchange, Notifier, Outgoing};
use serde_json::{Value, json};

use crate::cli::SignInArguments;
use crate::commands::signed_in;
use crate::failure::Failure;

/// Whom the credentials file is searched for.
const ROLES: &[&str] = &["administrator", "security-officer"];
/// How often is looked for something to send.
const ROUND_EVERY: Duration = Duration::from_millis(500);
/// Longest wait for an endpoint.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// What can be done with subscriptions.
#[derive(Subcommand)]
pub enum SubscriptionTask {
    /// List subscriptions, with what waits and what failed.
    List {
        /// Who asks.
        #[command(flatten)]
        sign_in: SignInArguments,
    },
    /// Send again what could not be delivered, from the first event on.
    Replay {
        /// Who asks.
        #[command(flatten)]
        sign_in: SignInArguments,
        /// The organization.
        #[arg(long)]
        organization: String,
        /// Id of the subscription.
        subscription: String,
    },
    /// Turn a subscription off.
    Off {
        /// Who asks.
        #[command(flatten)]
        sign_in: SignInArguments,
        /// The organization.
        #[arg(long)]
        organization: String,
        /// Id of the subscription.
        subscription: String,
    },
    /// List the hosts that an organization's subscriptions may be sent to.
    Hosts {
        /// Who asks.
        #[command(flatten)]
        sign_in: SignInArguments,
        /// The organization.
        #[arg(long)]
        organization: String,
    },
    /// Allow a host: a name, or name:port. Everything is sent by https.
    Allow {
        /// Who allows it.
        #[command(flatten)]
        sign_in: SignInArguments,
        /// The organization.
        #[arg(long)]
        organization: String,
        /// The host.
        host: String,
    },
    /// Take a host off that list.
    Disallow {
        /// Who does.
        #[command(flatten)]
        sign_in: SignInArguments,
        /// The organization.
        #[arg(long)]
        organization: String,
        /// The host.
        host: String,
    },
}

/// Does one task.
///
/// # Errors
/// What the exchange refuses, and why.
pub async fn run(task: SubscriptionTask) -> Result<(), Failure> {
    match task {
        SubscriptionTask::List { sign_in } => {
            let client = signed_in(&sign_in, ROLES).await?;
            let answer = client.get("/ops/subscriptions").await?.accepted()?.json()?;
            let all = answer["subscriptions"].as_array().cloned().unwrap_or_default();
            if all.is_empty() {
                println!("no subscriptions");
            }
            all.iter().for_each(print);
        }
        SubscriptionTask::Replay { sign_in, organization, subscription } => {
            turn(&sign_in, &organization, &subscription, "replay").await?;
        }
        SubscriptionTask::Off { sign_in, organization, subscription } => {
            turn(&sign_in, &organization, &subscription, "off").await?;
        }
        SubscriptionTask::Hosts { sign_in, organization } => {
            let client = signed_in(&sign_in, ROLES).await?;
            let answer = client.get(&hosts_path(&organization)?).await?.accepted()?.json()?;
            print_hosts(&answer);
        }
        SubscriptionTask::Allow { sign_in, organization, host } => {
            allow(&sign_in, &organization, &host, true).await?;
        }
        SubscriptionTask::Disallow { sign_in, organization, host } => {
            allow(&sign_in, &organization, &host, false).await?;
        }
    }
    Ok(())
}

async fn turn(
    sign_in: &SignInArguments,
    organization: &str,
    subscription: &str,
    act: &str,
) -> Result<(), Failure> {
    let client = signed_in(sign_in, ROLES).await?;
    let path =
        format!("/ops/subscriptions/{}/{}/{act}", plain(organization)?, plain(subscription)?);
    print(&client.post_json(&path, &json!({})).await?.accepted()?.json()?);
    Ok(())
}

async fn allow(
    sign_in: &SignInArguments,
    organization: &str,
    host: &str,
    allowed: bool,
) -> Result<(), Failure> {
    let client = signed_in(sign_in, ROLES).await?;
    let body = json!({ "host": host, "allowed": allowed });
    let answer = client.post_json(&hosts_path(organization)?, &body).await?.accepted()?.json()?;
    print_hosts(&answer);
    Ok(())
}

fn hosts_path(organization: &str) -> Result<String, Failure> {
    Ok(format!("/ops/organizations/{}/notify-hosts", plain(organization)?))
}

/// Names go into paths.
fn plain(name: &str) -> Result<&str, Failure> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
    match !name.is_empty() && name.bytes().all(fits) {
        true => Ok(name),
        false => Err(Failure::new("that is no name of an organization or subscription")),
    }
}

fn print_hosts(answer: &Value) {
    let hosts = answer["hosts"].as_array().cloned().unwrap_or_default();
    if hosts.is_empty() {
        println!("no hosts: nothing is sent");
    }
    hosts.iter().filter_map(Value::as_str).for_each(|host| println!("{host}"));
}

fn print(subscription: &Value) {
    let text = |name: &str| subscription[name].as_str().unwrap_or_default().to_owned();
    println!(
        "{}  {:<9} {:<20} {:<24} {} of {} events delivered, {} tries  {}  {} {}",
        text("subscription"),
        text("status"),
        text("organization"),
        text("principal"),
        subscription["delivered"],
        subscription["events"],
        subscription["tries"],
        text("topic"),
        text("endpoint"),
        text("error"),
    );
}

/// Sends by https: TLS by the system's roots, no redirects, nothing of the answer read.
pub struct HttpsNotifier(reqwest::Client);

impl HttpsNotifier {
    /// A client for all endpoints.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new() -> Result<Self, Failure> {
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .https_only(true)
            .no_proxy()
            .timeout(ANSWER_TIMEOUT)
            .user_agent("holdfast")
            .build();
        client.map(Self).map_err(|error| Failure::new(error.to_string()))
    }

    async fn post(&self, message: Outgoing) -> Result<u16, &'static str> {
        let seconds = message.at.millis().div_euclid(1_000);
        let mut request = self
            .0
            .post(&message.endpoint)
            .header("content-type", "application/fhir+json")
            .header("x-holdfast-subscription", &message.subscription)
            .header("x-holdfast-signature", signature(&message.secret, seconds, &message.body));
        for line in &message.headers {
            let Some((name, value)) = line.split_once(':') else { continue };
            request = request.header(name.trim(), value.trim());
        }
        match request.body(message.body).send().await {
            Ok(answer) => Ok(answer.status().as_u16()),
            Err(error) if error.is_timeout() => Err("the endpoint did not answer in time"),
            Err(error) if error.is_connect() => Err("the endpoint cannot be reached"),
            Err(_) => Err("the message could not be sent"),
        }
    }
}

/// `t=SECONDS,v1=HEX`: HMAC-SHA256 over time, a dot and the body. The time is under it, so
/// that an old message is not shown again.
fn signature(secret: &str, seconds: i64, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let mut context = hmac::Context::with_key(&key);
    context.update(format!("{seconds}.").as_bytes());
    context.update(body);
    let tag = data_encoding::HEXLOWER.encode(context.sign().as_ref());
    format!("t={seconds},v1={tag}")
}

impl Notifier for HttpsNotifier {
    fn send(
        &self,
        message: Outgoing,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<u16, &'static str>> + Send + '_>> {
        Box::pin(self.post(message))
    }
}

/// Sends what subscriptions wait for, for as long as the exchange is there.
pub async fn keep_notifying(exchange: Arc<Exchange>, base_url: String) {
    let notifier: Arc<dyn Notifier> = match HttpsNotifier::new() {
        Ok(notifier) => Arc::new(notifier),
        Err(error) => {
            tracing::error!(%error, "nothing is sent to subscriptions");
            return;
        }
    };
    let mut beat = tokio::time::interval(ROUND_EVERY);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        beat.tick().await;
        if let Err(error) = exchange.notify_round(&notifier, &base_url).await {
            tracing::error!(%error, "a round of notifications failed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_https_is_sent_and_an_endpoint_that_is_not_there_is_said_so() {
        crate::wiring::install_tls_provider();
        let notifier = HttpsNotifier::new().expect("a client");
        let message = |endpoint: &str| Outgoing {
            endpoint: endpoint.to_owned(),
            headers: vec!["Authorization: Bearer a".to_owned()],
            body: b"{}".to_vec(),
            secret: "secret".to_owned(),
            subscription: "s1".to_owned(),
            at: holdfast_base::Timestamp::from_millis(7_000),
        };
        // Bound and closed again: nobody listens there.
        let held = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = held.local_addr().expect("its number").port();
        drop(held);
        let away = notifier.send(message(&format!("https://127.0.0.1:{port}/"))).await;
        assert_eq!(away, Err("the endpoint cannot be reached"));
        assert!(notifier.send(message(&format!("http://127.0.0.1:{port}/"))).await.is_err());
    }

    #[test]
    fn a_signature_is_hmac_sha256_over_time_and_body() {
        // What `printf '7.{}' | openssl dgst -sha256 -hmac secret` says.
        let expected = "76aad9429f417882918162a1928a38769fff65cc07b6bfa344ac9c5fb1e3448e";
        let signed = signature("secret", 7, b"{}");
        assert_eq!(signed, format!("t=7,v1={expected}"));
        assert_ne!(signed, signature("secret", 8, b"{}"));
        assert_ne!(signed, signature("other", 7, b"{}"));
    }
}
