//! Stand-in.
use std::sync::Arc;
use crate::rewrite::jwt_placeholders::PlaceholderValues;
#[derive(Debug)] pub struct JwtUsers;
#[derive(Debug)] pub struct AcceptedToken { pub user: u32, pub placeholders: PlaceholderValues }
#[derive(Debug)] pub struct IssuerKeys;
impl IssuerKeys { pub async fn refetch(&self) {} }
#[derive(Debug)] pub struct Refusal { pub refetch: Vec<Arc<IssuerKeys>> }
impl Refusal { pub fn log_text(&self) -> String { String::new() } }
#[derive(Debug)] pub enum JwtOutcome { NotAToken, Accepted(Arc<AcceptedToken>), Refused(Refusal) }
impl JwtUsers { pub fn accept(&self, _: &[u8], _: u64) -> JwtOutcome { JwtOutcome::NotAToken } pub fn key_epoch(&self) -> u64 { 0 } }
#[derive(Debug)] pub struct TokenRefusalMetrics;
impl TokenRefusalMetrics { pub fn register(_: &vmkit::metrics::Set) -> Self { Self } pub fn count(&self, _: &Refusal) {} }
