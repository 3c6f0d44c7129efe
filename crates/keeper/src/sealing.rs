//! Sealing of bodies, index rows and system rows: pure, no I/O.
//!
//! Invariant: what was sealed in one place opens in that place only. The whole
//! [`SealContext`] (organization, patient, type, id, version, class, part) is
//! additional data of the AEAD, so a row that somebody moved does not open.

use std::sync::Arc;

use holdfast_base::{Category, ClassSet, ElementClass, OrganizationId, PatientId};
use parking_lot::RwLock;

use crate::keyring::Keys;
use crate::primitive::place;

/// Why something did not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Changed, moved from its place, or sealed under another key.
    #[error("the sealed bytes are not authentic in this place")]
    NotAuthentic,
    /// Too short to be anything that was sealed.
    #[error("the sealed bytes are cut off")]
    Malformed,
    /// Sealed by a newer version of Holdfast.
    #[error("the sealed bytes have the unknown format {format}")]
    UnknownFormat {
        /// The format number that was found.
        format: u8,
    },
    /// Sealed under a generation of the key that does not exist (any more).
    #[error("the generation {generation} of the key does not exist")]
    NoGeneration {
        /// The generation that the value names.
        generation: u32,
    },
    /// The release did not include this class.
    #[error("no key of class {class} was released")]
    NoKey {
        /// The class that was asked for.
        class: ElementClass,
    },
}

impl SealError {
    /// Whose fault it is. A missing key is a missing permission; the rest is damage.
    pub fn category(&self) -> Category {
        match self {
            Self::NoKey { .. } => Category::Forbidden,
            Self::NotAuthentic
            | Self::Malformed
            | Self::UnknownFormat { .. }
            | Self::NoGeneration { .. } => Category::Fault,
        }
    }
}

/// The place of a sealed part of a resource: additional data of its AEAD.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealContext<'a> {
    /// The organization that keeps the record.
    pub organization: &'a OrganizationId,
    /// The patient whose key seals it.
    pub patient: PatientId,
    /// FHIR resource type.
    pub resource_type: &'a str,
    /// Logical id.
    pub id: &'a str,
    /// Version number, from 1.
    pub version: u64,
    /// Element class.
    pub class: ElementClass,
    /// Which part: `body`, `index`.
    pub part: &'a str,
}

impl SealContext<'_> {
    fn additional_data(&self) -> Vec<u8> {
        place(
            "holdfast/v1/resource",
            &[
                self.organization.as_str().as_bytes(),
                self.patient.as_bytes(),
                self.resource_type.as_bytes(),
                self.id.as_bytes(),
                &self.version.to_be_bytes(),
                &[self.class as u8],
                self.part.as_bytes(),
            ],
        )
    }
}

/// The key of one element class of one patient. Wiped when dropped.
#[derive(Debug, Clone)]
pub struct ClassKey(Keys);

impl ClassKey {
    pub(crate) fn new(keys: Keys) -> Self {
        Self(keys)
    }

    /// The generation that seals.
    pub fn generation(&self) -> u32 {
        self.0.generation()
    }

    /// Seals `plaintext` in the place `ctx`.
    pub fn seal(&self, ctx: &SealContext<'_>, plaintext: &[u8]) -> Vec<u8> {
        self.0.seal(&ctx.additional_data(), plaintext)
    }

    /// Opens what was sealed in the place `ctx`.
    ///
    /// # Errors
    /// [`SealError`] when the bytes were changed, moved or cut off.
    pub fn open(&self, ctx: &SealContext<'_>, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        self.0.open(&ctx.additional_data(), sealed)
    }
}

/// The class keys of one patient that a release gave. Wiped when dropped.
#[derive(Debug, Clone)]
pub struct PatientKeys {
    /// The organization that keeps the record.
    pub organization: OrganizationId,
    /// The patient.
    pub patient: PatientId,
    keys: [Option<ClassKey>; ElementClass::ALL.len()],
}

impl PatientKeys {
    /// Takes the keys of `classes`, in key order.
    pub(crate) fn new(
        organization: OrganizationId,
        patient: PatientId,
        classes: ClassSet,
        secrets: Vec<Keys>,
    ) -> Self {
        let mut keys = [const { None }; ElementClass::ALL.len()];
        for (class, secret) in classes.iter().zip(secrets) {
            keys[class as usize] = Some(ClassKey::new(secret));
        }
        Self { organization, patient, keys }
    }

    /// The key of `class`.
    ///
    /// # Errors
    /// [`SealError::NoKey`] when the release did not include it.
    pub fn class(&self, class: ElementClass) -> Result<&ClassKey, SealError> {
        self.keys[class as usize].as_ref().ok_or(SealError::NoKey { class })
    }

    /// The keys of those of `classes` that are here, and no others.
    #[must_use]
    pub fn narrowed(&self, classes: ClassSet) -> Self {
        let key = |class: ElementClass| {
            let key = &self.keys[class as usize];
            key.clone().filter(|_| classes.contains(class))
        };
        let keys = ElementClass::ALL.map(key);
        Self { organization: self.organization.clone(), patient: self.patient, keys }
    }

    /// The classes whose keys are here.
    pub fn classes(&self) -> ClassSet {
        ElementClass::ALL.into_iter().filter(|class| self.keys[*class as usize].is_some()).collect()
    }
}

/// A key for rows that belong to no patient: accounts, links, incidents, outbox
/// rows, matching features. Wiped when dropped.
///
/// Cheap to clone; clones share the key, so that all of them follow a rotation.
#[derive(Debug, Clone)]
pub struct SystemKey(Arc<RwLock<Keys>>);

impl SystemKey {
    pub(crate) fn new(keys: Keys) -> Self {
        Self(Arc::new(RwLock::new(keys)))
    }

    /// Goes over to the generations of `newer`, here and in every clone.
    pub fn take_over(&self, newer: &Self) {
        let keys = newer.0.read().clone();
        *self.0.write() = keys;
    }

    /// The generation that seals.
    pub fn generation(&self) -> u32 {
        self.0.read().generation()
    }

    /// Seals `plaintext` in the place that `context` names (table and row key).
    pub fn seal(&self, context: &str, plaintext: &[u8]) -> Vec<u8> {
        self.0.read().seal(&place("holdfast/v1/system-row", &[context.as_bytes()]), plaintext)
    }

    /// Opens what was sealed in the place that `context` names.
    ///
    /// # Errors
    /// [`SealError`] when the bytes were changed, moved or cut off.
    pub fn open(&self, context: &str, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        self.0.read().open(&place("holdfast/v1/system-row", &[context.as_bytes()]), sealed)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::primitive::Secret;

    #[derive(Debug, Clone, PartialEq)]
    struct Place {
        organization: OrganizationId,
        patient: [u8; 16],
        resource_type: String,
        id: String,
        version: u64,
        class: ElementClass,
        part: String,
    }

    impl Place {
        fn context(&self) -> SealContext<'_> {
            SealContext {
                organization: &self.organization,
                patient: PatientId::from_bytes(self.patient),
                resource_type: &self.resource_type,
                id: &self.id,
                version: self.version,
                class: self.class,
                part: &self.part,
            }
        }
    }

    fn places() -> impl Strategy<Value = Place> {
        (
            "[a-z]{1,3}",
            proptest::array::uniform16(0..2u8),
            "[AB]{1,3}",
            "[ab]{1,3}",
            0..4u64,
            proptest::sample::select(ElementClass::ALL.to_vec()),
            "body|index",
        )
            .prop_map(
                |(organization, patient, resource_type, id, version, class, part)| Place {
                    organization: OrganizationId::new(&organization).expect("a valid name"),
                    patient,
                    resource_type,
                    id,
                    version,
                    class,
                    part,
                },
            )
    }

    proptest! {
        #[test]
        fn a_moved_sealed_row_does_not_open(from in places(), to in places(), field in 0..7u8) {
            // Moves one field only, so that each field is shown to be bound.
            let mut moved = from.clone();
            match field {
                0 => moved.organization = to.organization,
                1 => moved.patient = to.patient,
                2 => moved.resource_type = to.resource_type,
                3 => moved.id = to.id,
                4 => moved.version = to.version,
                5 => moved.class = to.class,
                _ => moved.part = to.part,
            }
            let key = ClassKey::new(Keys::first(Secret::random()));
            let sealed = key.seal(&from.context(), b"body");
            let opened = key.open(&moved.context(), &sealed);
            if moved == from {
                prop_assert_eq!(opened, Ok(b"body".to_vec()));
            } else {
                prop_assert_eq!(opened, Err(SealError::NotAuthentic));
            }
        }

        #[test]
        fn a_moved_system_row_does_not_open(from in "[a/]{0,6}", to in "[a/]{0,6}") {
            let key = SystemKey::new(Keys::first(Secret::random()));
            let sealed = key.seal(&from, b"row");
            prop_assert_eq!(key.open(&to, &sealed).is_ok(), from == to);
        }
    }

    #[test]
    fn only_released_classes_have_a_key() {
        let classes = ClassSet::of(ElementClass::Identity).with(ElementClass::Document);
        let organization = OrganizationId::new("lakeside").expect("a valid name");
        let secrets = vec![Keys::first(Secret::random()), Keys::first(Secret::random())];
        let document = secrets[1].newest().clone();
        let keys = PatientKeys::new(organization, PatientId::random(), classes, secrets);
        assert_eq!(keys.classes(), classes);
        assert_eq!(
            keys.class(ElementClass::Document).expect("released").0.newest().bytes(),
            document.bytes()
        );
        for class in [ElementClass::Clinical, ElementClass::GovernmentId, ElementClass::Restricted]
        {
            let missing = keys.class(class).expect_err("not released");
            assert_eq!(missing, SealError::NoKey { class });
            assert_eq!(missing.category(), Category::Forbidden);
        }
    }

    #[test]
    fn keys_print_nothing() {
        assert_eq!(
            format!("{:?}", ClassKey::new(Keys::first(Secret::random()))),
            "ClassKey(Keys { newest: (1, [secret]), older: [] })"
        );
    }
}
