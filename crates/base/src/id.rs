//! Identifiers. None is derived from a person's data: patients, persons and
//! sessions are random, so an identifier in a log or a ledger entry says
//! nothing about whom it stands for.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A text that is not an identifier of the kind that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {kind} identifier")]
pub struct InvalidId {
    kind: &'static str,
}

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        impl $name {
            /// A new identifier from the operating system's random source.
            pub fn random() -> Self {
                let mut bytes = [0; 16];
                crate::fill_random(&mut bytes);
                Self(bytes)
            }

            /// The identifier with these bytes.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The bytes, as they stand in keys.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(std::str::from_utf8(&hex(&self.0)).map_err(|_| std::fmt::Error)?)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                parse_hex(text).map(Self).ok_or(InvalidId { kind: $kind })
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    self.0.serialize(serializer)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                if d.is_human_readable() {
                    let text = std::borrow::Cow::<str>::deserialize(d)?;
                    text.parse().map_err(serde::de::Error::custom)
                } else {
                    <[u8; 16]>::deserialize(d).map(Self)
                }
            }
        }
    };
}

/// Lower-case hexadecimal. Identifiers are printed once an entry and more: this is ten
/// times as quick as formatting each byte.
fn hex(bytes: &[u8; 16]) -> [u8; 32] {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    std::array::from_fn(|place| {
        let byte = bytes[place / 2];
        DIGITS[usize::from(if place % 2 == 0 { byte >> 4 } else { byte & 15 })]
    })
}

fn parse_hex(text: &str) -> Option<[u8; 16]> {
    let digits = text.as_bytes();
    if digits.len() != 32 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut bytes = [0; 16];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

random_id!(
    /// One organization's record of one patient: the unit that has a key.
    /// The all-zero value is [`PatientId::NONE`].
    PatientId, "patient"
);
random_id!(
    /// A person of the master patient index: what links patient records of
    /// several organizations.
    PersonId, "person"
);
random_id!(
    /// One signed-in session, or one connection of a system.
    SessionId, "session"
);
random_id!(
    /// One request through one door.
    RequestId, "request"
);

impl PatientId {
    /// The compartment of what belongs to an organization and to no patient
    /// (practitioners, locations, the organization itself).
    pub const NONE: PatientId = PatientId([0; 16]);
    /// The compartment of an organization's other resources that are about no patient:
    /// its own people's, and nobody else's.
    pub const OWN: PatientId = PatientId([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);

    /// Whether this is a compartment of no patient.
    pub fn is_nobody(self) -> bool {
        self == Self::NONE || self == Self::OWN
    }
}

macro_rules! name_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $max:literal, $allowed:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks and takes `text`.
            ///
            /// # Errors
            /// [`InvalidId`] when `text` is empty, too long or has a character
            /// that the kind does not allow.
            pub fn new(text: &str) -> Result<Self, InvalidId> {
                let allowed: fn(char) -> bool = $allowed;
                let fits = !text.is_empty() && text.len() <= $max && text.chars().all(allowed);
                if fits { Ok(Self(text.into())) } else { Err(InvalidId { kind: $kind }) }
            }

            /// The identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                Self::new(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.to_string()
            }
        }
    };
}

name_id!(
    /// An organization on the exchange: lower-case letters, digits and hyphens,
    /// at most 40 characters; it stands in URLs.
    OrganizationId, "organization", 40,
    |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'
);
name_id!(
    /// One person or one system that acts: lower-case letters, digits, `.`,
    /// `-`, `_`, `@` and `:`, at most 80 characters. Never a patient's name.
    PrincipalId, "principal", 80,
    |c| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-_@:".contains(c)
);

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number_id!(
    /// Place of a leaf in the ledger, from 0.
    LedgerIndex
);
number_id!(
    /// Number of a durable store transaction, from 1; also called *t*.
    CommitNumber
);
number_id!(
    /// Number of a kept inbound payload, from 1.
    MessageId
);
number_id!(
    /// Number of an incident, from 1.
    IncidentId
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_ids_survive_text_and_json() {
        let id = PatientId::random();
        assert_eq!(id.to_string().parse(), Ok(id));
        let json = serde_json::to_string(&id).expect("serialises");
        assert_eq!(serde_json::from_str::<PatientId>(&json).expect("parses"), id);
        assert!("00".parse::<PatientId>().is_err());
        assert!("é0000000000000000000000000000000".parse::<PatientId>().is_err());
    }

    #[test]
    fn names_refuse_what_cannot_stand_in_a_url() {
        for bad in ["", "Upper", "a/b", "a b", "ä", &"x".repeat(41)] {
            assert!(OrganizationId::new(bad).is_err(), "{bad:?}");
        }
        assert!(PrincipalId::new("dr.okafor@lakeside-family").is_ok());
    }
}
