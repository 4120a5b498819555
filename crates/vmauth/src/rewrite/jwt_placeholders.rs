//! Values of a token's `vm_access` claim; a stand-in with the one type that authentication needs.

/// Values of a `vm_access` claim.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are those of the claim")]
pub struct PlaceholderValues {
    pub metrics_account_id: u32,
    pub metrics_project_id: u32,
    pub metrics_extra_labels: Vec<String>,
    pub metrics_extra_filters: Vec<String>,
    pub logs_account_id: u32,
    pub logs_project_id: u32,
    pub logs_extra_filters: Vec<String>,
    pub logs_extra_stream_filters: Vec<String>,
}
