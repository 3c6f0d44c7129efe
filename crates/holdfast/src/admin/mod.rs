//! Administration by command: the first administrator, organizations, accounts, kept
//! messages. All but the first administrator goes through the doors of a running
//! exchange, and is signed in for.

pub mod accounts;
pub mod args;
pub mod first;
pub mod messages;
pub mod organizations;
pub mod profiles;

use serde_json::Value;

/// A text of an answer; empty when it is not there.
fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

/// A name that goes into a path.
fn escaped(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let escape = |byte: u8| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    name.bytes().map(escape).collect()
}
