//! Certificate policies of a path (RFC 5280, section 6.1, as updated by RFC 9618).
//!
//! Nobody here asks for a policy; they matter only where a certificate of the path demands that there be a valid one
//! (`requireExplicitPolicy`). The question is then whether any policy is valid from the root to the leaf. That needs
//! only the policies valid at the last certificate so far, not the RFC's whole graph, so work grows with the number of
//! policies and not with their products.

use super::refusal::Malformed;
use std::collections::{BTreeMap, BTreeSet};
use x509_parser::extensions::{CertificatePolicies, PolicyConstraints, PolicyMappings};
use x509_parser::oid_registry::Oid;

/// An object identifier, as encoded.
type PolicyId = Box<[u8]>;

/// `2.5.29.32.0`
const ANY: &[u8] = &[0x55, 0x1d, 0x20, 0x00];

/// What the extensions of one certificate say about policies.
#[derive(Debug, Default)]
pub(super) struct Policies {
    list: Vec<PolicyId>,
    mappings: Vec<(PolicyId, PolicyId)>,
    require_explicit: Option<u32>,
    inhibit_mapping: Option<u32>,
    pub(super) inhibit_any: Option<u32>,
}

/// Policies valid at one certificate, each with what the next one may call it.
type Level = BTreeMap<PolicyId, BTreeSet<PolicyId>>;

fn id(oid: &Oid<'_>) -> PolicyId {
    oid.as_bytes().into()
}

impl Policies {
    pub(super) fn take_list(&mut self, value: &CertificatePolicies<'_>) -> Result<(), Malformed> {
        for policy in value.iter() {
            let policy = id(&policy.policy_id);
            if self.list.contains(&policy) {
                return Err(Malformed);
            }
            self.list.push(policy);
        }
        Ok(())
    }

    pub(super) fn take_mappings(&mut self, value: &PolicyMappings<'_>) {
        let pairs = value.mappings.iter();
        self.mappings = pairs.map(|pair| (id(&pair.issuer_domain_policy), id(&pair.subject_domain_policy))).collect();
    }

    pub(super) fn take_constraints(&mut self, value: &PolicyConstraints) {
        self.require_explicit = value.require_explicit_policy;
        self.inhibit_mapping = value.inhibit_policy_mapping;
    }
}

/// How many more certificates each rule is suspended for.
struct Counters {
    explicit: u32,
    mapping: u32,
    any: u32,
}

/// A certificate of a path as policies look at it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step<'a> {
    pub(super) policies: &'a Policies,
    pub(super) is_self_issued: bool,
}

/// Whether the policies of a path allow it; the steps go from the leaf to the last certificate below the root.
pub(super) fn are_valid(path: &[Step<'_>]) -> bool {
    // A certificate that is trusted itself has no path.
    let Some(leaf) = path.first() else { return true };
    let length = u32::try_from(path.len()).unwrap_or(u32::MAX).saturating_add(1);
    let mut left = Counters { explicit: length, mapping: length, any: length };
    let mut level = Some(Level::from([(ANY.into(), BTreeSet::from([ANY.into()]))]));
    for (i, Step { policies, is_self_issued }) in path.iter().copied().enumerate().rev() {
        let is_leaf = i == 0;
        let any_counts = left.any > 0 || (!is_leaf && is_self_issued);
        level = level.and_then(|level| next_level(&level, policies, any_counts));
        if left.explicit == 0 && level.is_none() {
            return false;
        }
        if !is_leaf {
            if !map_level(&mut level, policies, left.mapping > 0) {
                return false;
            }
            left.pass(policies, is_self_issued);
        }
    }
    let is_explicit = left.explicit <= 1 || leaf.policies.require_explicit == Some(0);
    !is_explicit || level.is_some()
}

impl Counters {
    /// Section 6.1.4, (h) to (j).
    fn pass(&mut self, policies: &Policies, is_self_issued: bool) {
        let step = u32::from(!is_self_issued);
        let next = |left: u32, limit: Option<u32>| left.saturating_sub(step).min(limit.unwrap_or(u32::MAX));
        self.explicit = next(self.explicit, policies.require_explicit);
        self.mapping = next(self.mapping, policies.inhibit_mapping);
        self.any = next(self.any, policies.inhibit_any);
    }
}

/// Section 6.1.3 (d): what stays valid at the next certificate; `None` when nothing does.
fn next_level(level: &Level, policies: &Policies, any_counts: bool) -> Option<Level> {
    let mut next = Level::new();
    for policy in policies.list.iter().filter(|policy| ***policy != *ANY) {
        if level.contains_key(ANY) || level.values().any(|expected| expected.contains(policy)) {
            next.insert(policy.clone(), BTreeSet::from([policy.clone()]));
        }
    }
    if any_counts && policies.list.iter().any(|policy| **policy == *ANY) {
        for expected in level.values().flatten() {
            next.entry(expected.clone()).or_insert_with(|| BTreeSet::from([expected.clone()]));
        }
    }
    (!next.is_empty()).then_some(next)
}

/// Section 6.1.4 (b): renames policies for the next certificate; `false` for a mapping that must not exist.
fn map_level(level: &mut Option<Level>, policies: &Policies, is_allowed: bool) -> bool {
    let Some(valid) = level else { return true };
    let mut renamed: BTreeMap<&PolicyId, BTreeSet<PolicyId>> = BTreeMap::new();
    for (issuer, subject) in &policies.mappings {
        if !is_allowed {
            valid.remove(issuer);
        } else if **issuer == *ANY || **subject == *ANY {
            return false;
        } else {
            renamed.entry(issuer).or_default().insert(subject.clone());
        }
    }
    for (issuer, subjects) in renamed {
        if valid.contains_key(issuer) || valid.contains_key(ANY) {
            valid.insert(issuer.clone(), subjects);
        }
    }
    if valid.is_empty() {
        *level = None;
    }
    true
}
