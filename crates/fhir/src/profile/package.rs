//! Packages of definitions: an npm package of FHIR (`.tgz`), or single resources.
//! Of each definition only what is checked is kept.

use std::collections::HashSet;
use std::io::Read;

use serde_json::Value;

use super::compile::is_base_type;
use super::registry::Registry;

/// Unpacked size of a package: the largest published guides have some 300 MB with
/// examples and narratives, which are read past.
const PACKAGE_BYTES_MAX: u64 = 1 << 30;
/// One definition: value sets with expansions of some thousands of codes fit.
const FILE_BYTES_MAX: u64 = 32 << 20;
/// Definitions of one package.
const FILES_COUNT_MAX: usize = 20_000;

/// Why a package cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PackageError {
    /// It is no gzipped tar archive.
    #[error("it is no gzipped tar archive, as an npm package of FHIR is")]
    NoArchive,
    /// A file of it is no JSON.
    #[error("a file of it is no JSON: {0}")]
    NoJson(String),
    /// It has nothing to check by.
    #[error("it has no profiles, value sets, code systems or questionnaires")]
    Empty,
    /// It is larger than anything that is published.
    #[error("it is too large")]
    TooLarge,
}

impl PackageError {
    /// The fault category.
    pub fn category(&self) -> holdfast_base::Category {
        holdfast_base::Category::Incorrect
    }
}

/// What a package has that validation uses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Package {
    /// Its name; empty when it does not say.
    pub name: String,
    /// Its version; empty when it does not say.
    pub version: String,
    /// StructureDefinitions, ValueSets, CodeSystems and Questionnaires.
    pub resources: Vec<Value>,
}

impl Package {
    /// Reads a package as npm has it (`package/*.json` in a gzipped tar archive).
    ///
    /// # Errors
    /// [`PackageError`].
    pub fn from_tgz(tgz: &[u8]) -> Result<Self, PackageError> {
        let mut archive = flate2::read::GzDecoder::new(tgz).take(PACKAGE_BYTES_MAX);
        let mut package = Self::default();
        let mut header = [0_u8; 512];
        loop {
            if let Err(error) = archive.read_exact(&mut header) {
                let whole =
                    error.kind() == std::io::ErrorKind::UnexpectedEof && archive.limit() > 0;
                if whole && !package.resources.is_empty() {
                    break;
                }
                return Err(PackageError::NoArchive);
            }
            if header[0] == 0 {
                break;
            }
            let text = |from: usize, to: usize| {
                let field = header[from..to].split(|byte| *byte == 0).next().unwrap_or_default();
                String::from_utf8_lossy(field).trim().to_owned()
            };
            let size =
                u64::from_str_radix(&text(124, 136), 8).map_err(|_| PackageError::NoArchive)?;
            let padded = size.div_ceil(512) * 512;
            let name = text(0, 100);
            let is_file = matches!(header[156], b'0' | 0);
            if is_file && is_definition(&name) {
                if size > FILE_BYTES_MAX || package.resources.len() >= FILES_COUNT_MAX {
                    return Err(PackageError::TooLarge);
                }
                let mut bytes = vec![0; size as usize];
                archive.read_exact(&mut bytes).map_err(|_| PackageError::NoArchive)?;
                skip(&mut archive, padded - size)?;
                package.add(&name, &bytes)?;
            } else {
                skip(&mut archive, padded)?;
            }
        }
        package.or_empty()
    }

    /// Takes the definitions among files, as (name, content).
    ///
    /// # Errors
    /// [`PackageError`].
    pub fn from_files(
        files: impl IntoIterator<Item = (String, Vec<u8>)>,
    ) -> Result<Self, PackageError> {
        let mut package = Self::default();
        for (name, bytes) in files {
            if package.resources.len() >= FILES_COUNT_MAX || bytes.len() as u64 > FILE_BYTES_MAX {
                return Err(PackageError::TooLarge);
            }
            package.add(&name, &bytes)?;
        }
        package.or_empty()
    }

    /// Takes definitions that were read before; those that are none are left out.
    ///
    /// # Errors
    /// [`PackageError`].
    pub fn of_resources(
        name: String,
        version: String,
        mut resources: Vec<Value>,
    ) -> Result<Self, PackageError> {
        if resources.len() > FILES_COUNT_MAX {
            return Err(PackageError::TooLarge);
        }
        resources.retain_mut(slim);
        Self { name, version, resources }.or_empty()
    }

    fn add(&mut self, name: &str, bytes: &[u8]) -> Result<(), PackageError> {
        let file = name.rsplit('/').next().unwrap_or(name);
        let Ok(mut resource) = serde_json::from_slice::<Value>(bytes) else {
            return Err(PackageError::NoJson(file.to_owned()));
        };
        if file == "package.json" {
            let text = |key: &str| resource[key].as_str().unwrap_or_default().to_owned();
            (self.name, self.version) = (text("name"), text("version"));
            return Ok(());
        }
        if slim(&mut resource) {
            self.resources.push(resource);
        }
        Ok(())
    }

    fn or_empty(mut self) -> Result<Self, PackageError> {
        // Snapshots are made again from the differentials, unless one derives from
        // what is not at hand.
        let own: HashSet<String> =
            self.resources.iter().filter_map(|it| Some(it["url"].as_str()?.to_owned())).collect();
        for resource in &mut self.resources {
            let base = resource["baseDefinition"].as_str().unwrap_or_default();
            let base = base.split('|').next().unwrap_or(base);
            let is_known = own.contains(base) || Registry::core().profile(base).is_some();
            let is_whole = is_known || is_base_type(base);
            if is_whole
                && resource["differential"]["element"].is_array()
                && let Some(fields) = resource.as_object_mut()
            {
                fields.remove("snapshot");
            }
        }
        if self.resources.is_empty() { Err(PackageError::Empty) } else { Ok(self) }
    }
}

/// Files of the package's own folder; examples and other folders are none.
fn is_definition(name: &str) -> bool {
    let name = name.trim_start_matches("./");
    let in_folder = name.strip_prefix("package/").is_some_and(|rest| !rest.contains('/'));
    in_folder && name.ends_with(".json") && !name.ends_with("/.index.json")
}

fn skip(archive: &mut impl Read, bytes: u64) -> Result<(), PackageError> {
    let copied = std::io::copy(&mut archive.take(bytes), &mut std::io::sink());
    match copied {
        Ok(copied) if copied == bytes => Ok(()),
        _ => Err(PackageError::NoArchive),
    }
}

/// Takes off what only people read; whether anything can be checked by it.
pub(crate) fn slim(resource: &mut Value) -> bool {
    let kind = resource["resourceType"].as_str().unwrap_or_default().to_owned();
    let is_profile = kind == "StructureDefinition" && resource["derivation"] == "constraint";
    let is_known = matches!(kind.as_str(), "ValueSet" | "CodeSystem" | "Questionnaire");
    if !resource["url"].is_string() || !(is_profile || is_known) {
        return false;
    }
    let Some(fields) = resource.as_object_mut() else { return false };
    for name in [
        "text",
        "contact",
        "copyright",
        "description",
        "purpose",
        "mapping",
        "useContext",
        "jurisdiction",
    ] {
        fields.remove(name);
    }
    let element_lists = ["differential", "snapshot"];
    for list in element_lists {
        let elements =
            fields.get_mut(list).and_then(|list| list.get_mut("element")?.as_array_mut());
        for element in elements.into_iter().flatten().filter_map(Value::as_object_mut) {
            for name in [
                "short",
                "definition",
                "comment",
                "requirements",
                "alias",
                "mapping",
                "example",
                "isSummary",
                "mustSupport",
            ] {
                element.remove(name);
            }
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use serde_json::json;

    use super::*;

    /// A gzipped ustar archive.
    fn tgz(files: &[(&str, &str)]) -> Vec<u8> {
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        for (name, text) in files {
            let mut header = [0_u8; 512];
            header[..name.len()].copy_from_slice(name.as_bytes());
            header[124..135].copy_from_slice(format!("{:011o}", text.len()).as_bytes());
            header[156] = b'0';
            gz.write_all(&header).expect("memory");
            gz.write_all(text.as_bytes()).expect("memory");
            gz.write_all(&vec![0; text.len().next_multiple_of(512) - text.len()]).expect("memory");
        }
        gz.write_all(&[0; 1024]).expect("memory");
        gz.finish().expect("memory")
    }

    #[test]
    fn a_package_gives_its_definitions_without_what_only_people_read() {
        let profile = json!({"resourceType": "StructureDefinition", "url": "http://p", "type": "Patient",
            "derivation": "constraint", "text": {"div": "long"},
            "baseDefinition": "http://hl7.org/fhir/StructureDefinition/Patient",
            "snapshot": {"element": []},
            "differential": {"element": [{"path": "Patient.name", "short": "x", "min": 1}]}});
        let archive = tgz(&[
            ("package/package.json", r#"{"name": "a.b", "version": "1.0.0"}"#),
            ("package/StructureDefinition-p.json", &profile.to_string()),
            ("package/example/Patient-1.json", "no JSON, and no matter"),
            (
                "package/SearchParameter-x.json",
                r#"{"resourceType": "SearchParameter", "url": "http://s"}"#,
            ),
        ]);
        let package = Package::from_tgz(&archive).expect("reads");
        assert_eq!((package.name.as_str(), package.version.as_str()), ("a.b", "1.0.0"));
        let [kept] = package.resources.as_slice() else { panic!("{:?}", package.resources) };
        assert!(kept["text"].is_null() && kept["snapshot"].is_null());
        assert_eq!(kept["differential"]["element"][0], json!({"path": "Patient.name", "min": 1}));
    }

    #[test]
    fn what_is_no_package_is_refused() {
        assert_eq!(Package::from_tgz(b"PK"), Err(PackageError::NoArchive));
        let whole = tgz(&[(
            "package/ValueSet-a.json",
            r#"{"resourceType": "ValueSet", "url": "http://v"}"#,
        )]);
        assert!(Package::from_tgz(&whole).is_ok());
        assert_eq!(Package::from_tgz(&whole[..whole.len() / 2]), Err(PackageError::NoArchive));
        assert_eq!(
            Package::from_tgz(&tgz(&[("package/a.json", "{")])),
            Err(PackageError::NoJson("a.json".into()))
        );
        assert_eq!(Package::from_tgz(&tgz(&[("package/a.json", "{}")])), Err(PackageError::Empty));
    }
}
