//! The resources that are written and read: synthetic, about 1.2 KB each, and as
//! compressible as observations are.

use holdfast_base::fill_random;

/// Compression level of bodies in the exchange.
const ZSTD_LEVEL: i32 = 3;
/// FHIR resource type of all of them.
pub const TYPE: &str = "Observation";
/// Its number in the store.
pub const TYPE_CODE: u16 = 96;

/// A resource before it is sealed.
pub struct Document {
    /// Logical id.
    pub id: String,
    /// The JSON.
    pub body: Vec<u8>,
    /// What a search looks at.
    pub index: Vec<u8>,
}

fn hex(bytes: usize) -> String {
    let mut random = vec![0; bytes];
    fill_random(&mut random);
    random.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Document {
    /// A new one; no two are alike.
    pub fn random() -> Self {
        let id = hex(16);
        let (patient, encounter, specimen, device) = (hex(16), hex(16), hex(16), hex(12));
        let mut value = [0; 4];
        fill_random(&mut value);
        let value = u32::from_be_bytes(value) % 1_000_000;
        let body = format!(
            concat!(
                r#"{{"resourceType":"Observation","id":"{id}","meta":{{"versionId":"1","lastUpdated":"2026-01-05T09:00:00.000Z","#,
                r#""source":"urn:holdfast:message:{device}"}},"identifier":[{{"system":"urn:oid:2.16.840.1.113883.19.5","value":"{specimen}-1"}}],"#,
                r#""status":"final","category":[{{"coding":[{{"system":"http://terminology.hl7.org/CodeSystem/observation-category","#,
                r#""code":"laboratory","display":"Laboratory"}}]}}],"code":{{"coding":[{{"system":"http://loinc.org","code":"4548-4","#,
                r#""display":"Hemoglobin A1c/Hemoglobin.total in Blood"}}],"text":"HbA1c"}},"subject":{{"reference":"Patient/{patient}"}},"#,
                r#""encounter":{{"reference":"Encounter/{encounter}"}},"effectiveDateTime":"2026-01-05T08:41:00-05:00","#,
                r#""issued":"2026-01-05T09:00:00.000Z","performer":[{{"reference":"Practitioner/{device}"}}],"#,
                r#""valueQuantity":{{"value":7.{value},"unit":"%","system":"http://unitsofmeasure.org","code":"%"}},"#,
                r#""interpretation":[{{"coding":[{{"system":"http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation","#,
                r#""code":"H","display":"High"}}]}}],"specimen":{{"reference":"Specimen/{specimen}"}},"#,
                r#""referenceRange":[{{"low":{{"value":4.0,"unit":"%"}},"high":{{"value":5.6,"unit":"%"}}}}]}}"#
            ),
            id = id,
            patient = patient,
            encounter = encounter,
            specimen = specimen,
            device = device,
            value = value,
        );
        // Thirteen search values of about twenty bytes, as the exchange encodes them.
        let index = format!("{id}{patient}{encounter}{specimen}{}", hex(60)).into_bytes();
        Self { id, body: body.into_bytes(), index }
    }

    /// The resource with its type, as entries and tokens name it.
    pub fn reference(&self) -> String {
        format!("{TYPE}/{}", self.id)
    }
}

/// Compresses bodies; keeps its tables, as the exchange does.
pub struct Packer(zstd::bulk::Compressor<'static>);

impl Packer {
    /// One for a thread.
    pub fn new() -> std::io::Result<Self> {
        zstd::bulk::Compressor::new(ZSTD_LEVEL).map(Self)
    }

    /// Compresses.
    pub fn pack(&mut self, plain: &[u8]) -> std::io::Result<Vec<u8>> {
        self.0.compress(plain)
    }
}

/// Decompresses bodies.
pub struct Unpacker(zstd::bulk::Decompressor<'static>);

impl Unpacker {
    /// One for a thread.
    pub fn new() -> std::io::Result<Self> {
        zstd::bulk::Decompressor::new().map(Self)
    }

    /// Decompresses.
    pub fn unpack(&mut self, packed: &[u8]) -> std::io::Result<Vec<u8>> {
        let bytes = zstd::bulk::Decompressor::upper_bound(packed).unwrap_or_default();
        self.0.decompress(packed, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_about_as_large_as_promised_and_unlike_the_next() {
        let document = Document::random();
        assert!((1_100..1_500).contains(&document.body.len()), "{}", document.body.len());
        serde_json::from_slice::<serde_json::Value>(&document.body).expect("JSON");
        assert_ne!(document.body, Document::random().body);
        let packed = Packer::new().and_then(|mut p| p.pack(&document.body)).expect("packs");
        assert!(packed.len() > document.body.len() / 4, "as compressible as real ones");
        let plain = Unpacker::new().and_then(|mut u| u.unpack(&packed)).expect("unpacks");
        assert_eq!(plain, document.body);
    }
}
