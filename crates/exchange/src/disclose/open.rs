//! Fetching keys and opening what is sealed under them.

use std::collections::HashMap;
use std::sync::Arc;

use holdfast_base::{ClassSet, ElementClass, OrganizationId, PatientId};
use holdfast_fhir::search::{self, IndexEntry};
use holdfast_keeper::{KeeperError, PatientKeys, ReleaseRequest, SealContext};
use holdfast_store::{IndexRow, ResourceKey, Stored};
use serde_json::Value;

use crate::admit::{FormerIndexPlain, IndexPlain};
use crate::cover;
use crate::packing;
use crate::people::Organization;
use crate::sizes::{self, Labels};
use crate::state::Exchange;
use crate::{Ask, ExchangeError};

/// A search row, opened.
#[derive(Clone)]
pub(crate) struct OpenRow {
    pub row: IndexRow,
    pub class: ElementClass,
    pub resource_type: String,
    pub id: String,
    pub entries: Vec<IndexEntry>,
}

impl OpenRow {
    /// What a query looks at.
    pub fn facts(&self) -> search::Row<'_> {
        search::Row { id: &self.id, last_updated: self.row.last_updated, entries: &self.entries }
    }
}

impl Exchange {
    /// The session's keys of `patients`: those it holds already, and the others by
    /// one release, durable in the ledger before they arrive.
    pub(crate) async fn open_keys(
        &self,
        ask: &Ask,
        organization: &OrganizationId,
        patients: &[PatientId],
        classes: ClassSet,
        reason: &str,
        create_missing: bool,
    ) -> Result<HashMap<PatientId, Arc<PatientKeys>>, ExchangeError> {
        let now = self.now();
        let slot = |patient| (ask.caller.session, patient, ask.purpose);
        let mut keys = HashMap::new();
        let mut missing = Vec::new();
        for patient in patients {
            match self.keyring().get((slot(*patient), organization.clone()), classes, now) {
                Some(held) => drop(keys.insert(*patient, held)),
                None => missing.push(*patient),
            }
        }
        if missing.is_empty() {
            return Ok(keys);
        }
        let request = ReleaseRequest {
            proof: self.proof_of(&ask.caller).await?,
            request: ask.request,
            organization: organization.clone(),
            patients: missing,
            classes,
            purpose: ask.purpose,
            reason: reason.into(),
            create_missing,
        };
        let released = match self.keeper().release(&request).await {
            // A vouched session that is over is vouched for anew, once.
            Err(KeeperError::NotSignedIn) if self.forget_vouched(&ask.caller) => {
                let proof = self.proof_of(&ask.caller).await?;
                self.keeper().release(&ReleaseRequest { proof, ..request }).await
            }
            released => released,
        }?;
        for held in released {
            let (patient, held) = (held.patient, Arc::new(held));
            let slot = (slot(patient), organization.clone());
            self.keyring().put(slot, ask.caller.actor(), Arc::clone(&held), now);
            keys.insert(patient, held);
        }
        Ok(keys)
    }

    /// Where a resource lies in the store.
    pub(crate) fn store_key(
        &self,
        organization: &Organization,
        patient: PatientId,
        resource_type: &str,
        id: &str,
    ) -> Result<ResourceKey, ExchangeError> {
        let type_code = holdfast_fhir::type_code(resource_type).ok_or(ExchangeError::NotFound)?;
        let reference = format!("{resource_type}/{id}");
        let id_token = organization.keys.token.token("id", reference.as_bytes());
        self.placed(ResourceKey {
            organization: organization.ordinal,
            patient,
            type_code,
            id_token,
        })
    }

    /// The sealed parts of a stored version with their classes.
    pub(crate) fn parts<'a>(
        &self,
        organization: &OrganizationId,
        stored: &'a Stored,
    ) -> Result<Vec<(ElementClass, &'a [u8])>, ExchangeError> {
        let sealed = &stored.sealed;
        let parts = sealed.parts.iter().map(|(label, part)| (*label, part.as_slice()));
        if !sizes::is_masked(&sealed.index) {
            return Ok(parts.collect());
        }
        let labels = Labels::of(&*self.organization(organization)?, &stored.key, sealed.version);
        Ok(parts.map(|(label, part)| (labels.class(label), part)).collect())
    }

    /// Opens the parts of a stored version that `keys` cover and puts them together.
    /// What is kept apart and not covered stays as it was masked when it was stored.
    /// Gives the classes that were opened, too.
    pub(crate) fn open_body(
        &self,
        organization: &OrganizationId,
        id: &str,
        stored: &Stored,
        keys: &PatientKeys,
    ) -> Result<(Value, ClassSet), ExchangeError> {
        let bound_type = cover::bound_type(&stored.key)?;
        let mut body = Value::Null;
        let mut opened = ClassSet::default();
        let apart = ElementClass::GovernmentId;
        let context = |class| SealContext {
            organization,
            patient: stored.key.patient,
            resource_type: &bound_type,
            id,
            version: stored.sealed.version,
            class,
            part: "body",
        };
        for (class, sealed) in self.parts(organization, stored)? {
            if !keys.classes().contains(class) {
                continue;
            }
            let packed = keys.class(class)?.open(&context(class), sealed)?;
            let part = packing::unpack(&packed)?;
            opened = opened.with(class);
            // Versions that were stored earlier have the numbers in a part beside.
            if class == apart {
                holdfast_fhir::join_government_ids(&mut body, &part);
                continue;
            }
            body = part;
            if let Some(inner) = packing::inner(&packed)
                && keys.classes().contains(apart)
            {
                let part = keys.class(apart)?.open(&context(apart), inner)?;
                holdfast_fhir::join_government_ids(&mut body, &packing::unpack(&part)?);
                opened = opened.with(apart);
            }
        }
        if body.is_null() { Err(ExchangeError::NotFound) } else { Ok((body, opened)) }
    }

    /// Opens a search row, when it is no stand-in and `keys` cover its class.
    pub(crate) fn open_row(
        &self,
        organization: &Organization,
        row: IndexRow,
        keys: &PatientKeys,
    ) -> Result<Option<OpenRow>, ExchangeError> {
        let Some((class, sealed)) = row.index.split_first() else { return Ok(None) };
        if cover::is_stand_in(organization, &row.key) {
            return Ok(None);
        }
        let labels = Labels::of(organization, &row.key, row.version);
        let class = sizes::class_named(&labels, *class);
        let class = class.ok_or(ExchangeError::Internal("a search row has an unknown class"))?;
        if !keys.classes().contains(class) {
            return Ok(None);
        }
        let bound_type = cover::bound_type(&row.key)?;
        let token = data_encoding::HEXLOWER.encode(&row.key.id_token);
        let context = SealContext {
            organization: organization.id(),
            patient: row.key.patient,
            resource_type: &bound_type,
            id: &token,
            version: row.version,
            class,
            part: "index",
        };
        let plain = packing::unpack_row(keys.class(class)?.open(&context, sealed)?)?;
        let unknown = || ExchangeError::Internal("a search row has an unknown form");
        let plain = if row.key.type_code == cover::UNTOLD_TYPE {
            postcard::from_bytes(&plain).map_err(|_| unknown())?
        } else {
            let former: FormerIndexPlain = postcard::from_bytes(&plain).map_err(|_| unknown())?;
            let resource_type = bound_type.into_owned();
            IndexPlain { resource_type, id: former.id, entries: former.entries }
        };
        let IndexPlain { resource_type, id, entries } = plain;
        let entries = search::decode(&entries).map_err(|_| unknown())?;
        Ok(Some(OpenRow { row, class, resource_type, id, entries }))
    }
}
