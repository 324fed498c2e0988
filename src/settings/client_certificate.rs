//! The certificates of an upstream: the files of trusted issuers and of a client certificate.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Secret, SettingsError, UpstreamSettings};

/// The files of the certificate that Tokenrill presents to an upstream (`upstreams.client_certificate`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ClientCertificateSettings {
    /// The certificate, followed by those of its issuers, in PEM.
    pub certificate: PathBuf,
    /// The private key in PEM. Absent if it is in the file of the certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_key: Option<PathBuf>,
}

/// The PEM texts that `client_certificate` names.
pub struct ClientCertificateFiles {
    pub certificate: String,
    pub private_key: Secret,
}

impl ClientCertificateSettings {
    pub(super) const EXPECTED: &str = "a table such as { certificate = \"client.pem\", private_key = \"client.key\" }";

    /// Returns the path of the file with the private key.
    pub fn private_key_path(&self) -> &Path {
        self.private_key.as_deref().unwrap_or(&self.certificate)
    }
}

impl UpstreamSettings {
    /// Reads `ca_file`; `None` if it is absent. The error names the setting and the path.
    pub fn read_ca_file(&self) -> Result<Option<String>, SettingsError> {
        self.ca_file.as_deref().map(|path| self.read("ca_file", path)).transpose()
    }

    /// Reads the files of `client_certificate`; `None` if it is absent. The error names the setting and the path.
    pub fn read_client_certificate(&self) -> Result<Option<ClientCertificateFiles>, SettingsError> {
        let Some(settings) = &self.client_certificate else { return Ok(None) };
        let certificate = self.read("client_certificate.certificate", &settings.certificate)?;
        let private_key = self.read("client_certificate.private_key", settings.private_key_path())?;
        Ok(Some(ClientCertificateFiles { certificate, private_key: Secret::from(private_key.as_str()) }))
    }

    fn read(&self, setting: &'static str, path: &Path) -> Result<String, SettingsError> {
        // A file in the binary form (DER) is not UTF-8. Its first error is that it is not PEM, which the parser reports.
        let read = fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        read.map_err(|source| SettingsError::UpstreamFile {
            upstream: self.name.clone(),
            setting,
            path: path.display().to_string(),
            source,
        })
    }
}
