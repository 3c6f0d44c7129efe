//! Element classes: the parts of a record that are sealed under separate keys,
//! so that what was *not* touched can be proven.

use serde::{Deserialize, Serialize};

/// A part of a patient's record with a key of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum ElementClass {
    /// Names, addresses, telecom, birth date, photographs.
    Identity = 0,
    /// Social security number, driver's licence, passport.
    GovernmentId = 1,
    /// Observations, conditions, medications, encounters and the like.
    Clinical = 2,
    /// Dictated reports, attachments, whole documents.
    Document = 3,
    /// 42 CFR Part 2, psychotherapy notes, HIV, reproductive health.
    Restricted = 4,
}

impl ElementClass {
    /// Every class, in key order.
    pub const ALL: [ElementClass; 5] =
        [Self::Identity, Self::GovernmentId, Self::Clinical, Self::Document, Self::Restricted];

    /// The name used in ledger entries, scopes and notices.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::GovernmentId => "government-id",
            Self::Clinical => "clinical",
            Self::Document => "document",
            Self::Restricted => "restricted",
        }
    }

    /// The class with this [`as_str`](Self::as_str) name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == name)
    }
}

impl std::fmt::Display for ElementClass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of element classes. Serialised as a list of names.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ClassSet(u8);

impl ClassSet {
    /// No class.
    pub const EMPTY: ClassSet = ClassSet(0);
    /// Every class.
    pub const ALL: ClassSet = ClassSet(0b1_1111);

    /// The set that holds just `class`.
    pub const fn of(class: ElementClass) -> Self {
        Self(1 << class as u8)
    }

    /// This set and `class`.
    #[must_use]
    pub const fn with(self, class: ElementClass) -> Self {
        Self(self.0 | 1 << class as u8)
    }

    /// This set without `class`.
    #[must_use]
    pub const fn without(self, class: ElementClass) -> Self {
        Self(self.0 & !(1 << class as u8))
    }

    /// What is in either set.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in both sets.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether `class` is in the set.
    pub const fn contains(self, class: ElementClass) -> bool {
        self.0 & (1 << class as u8) != 0
    }

    /// Whether every class of `other` is in this set.
    pub const fn contains_all(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether the set is empty.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The classes in key order.
    pub fn iter(self) -> impl Iterator<Item = ElementClass> {
        ElementClass::ALL.into_iter().filter(move |class| self.contains(*class))
    }

    /// One bit a class; for compact keys and rows.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The set with these [`bits`](Self::bits); unknown bits are dropped.
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits & Self::ALL.0)
    }
}

impl FromIterator<ElementClass> for ClassSet {
    fn from_iter<I: IntoIterator<Item = ElementClass>>(classes: I) -> Self {
        classes.into_iter().fold(Self::EMPTY, Self::with)
    }
}

impl std::fmt::Display for ClassSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (place, class) in self.iter().enumerate() {
            if place > 0 {
                f.write_str(", ")?;
            }
            f.write_str(class.as_str())?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for ClassSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{{{self}}}")
    }
}

impl Serialize for ClassSet {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_seq(self.iter())
        } else {
            serializer.serialize_u8(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for ClassSet {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            Ok(Vec::<ElementClass>::deserialize(deserializer)?.into_iter().collect())
        } else {
            Ok(Self::from_bits(u8::deserialize(deserializer)?))
        }
    }
}
