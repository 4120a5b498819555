//! Keys and tenants that change at the provider while everything runs.

use devstack::fault::Fault;
use devstack::provider::ClaimForm;

use crate::rig::{Rig, claim, tenant};

/// Waits until the newest write carries a token by the key that signs now.
#[track_caller]
fn wait_new_key(rig: &Rig) {
    let wanted = rig.stack.provider.figures().key_id;
    rig.wait("a write with a token by the new key", |rig| {
        let used = rig.writes().pop().and_then(|write| write.authorization).map(|header| claim(&header, 0, "kid"));
        if used.as_ref().is_some_and(|used| *used == *wanted) { Ok(()) } else { Err(used) }
    });
}

#[test]
fn keys_rotate_with_overlap_and_without_and_nothing_is_restarted_or_lost() {
    let mut rig = Rig::start(|_| {});
    rig.wait_fresh();
    for fault in [Fault::RotateKey, Fault::ReplaceKey] {
        rig.set(fault, true);
        wait_new_key(&rig);
    }
    rig.gap_check(0, None);
    let loads = rig.proxy_metrics().unwrap().sum("vmauth_config_last_reload_total");
    assert!(loads <= 1.0, "no reload was needed");
}

#[test]
fn a_new_tenant_is_written_to_from_the_next_token_on() {
    for form in [ClaimForm::Object, ClaimForm::Text] {
        let mut rig = Rig::start(|options| {
            options.setup.tenant = tenant("1:2");
            options.setup.claim = form;
        });
        rig.wait_fresh();
        rig.set(Fault::WrongTenant, true);
        rig.wait("a write to the new tenant", |rig| {
            let last = rig.writes().pop().map(|write| write.tenant);
            if last == Some(tenant("9:0")) { Ok(()) } else { Err(last) }
        });
        rig.gap_check(0, None);
        let mut tenants: Vec<_> = rig.writes().iter().map(|write| write.path.clone()).collect();
        tenants.dedup();
        assert_eq!(
            tenants,
            ["1:2", "9:0"].map(|tenant| format!("/insert/{tenant}/prometheus/api/v1/write")),
            "{form:?}"
        );
    }
}

#[test]
fn tokens_without_a_tenant_wait_for_better_ones() {
    let mut rig = Rig::start(|options| options.faults = vec![Fault::NoTenant]);
    rig.wait_agent_sum("vmagent_remotewrite_retries_count_total", |retries| retries > 0.0);
    let statuses = rig.agent_metrics().unwrap().containing("status_code=\"401\"");
    assert!(statuses.iter().any(|(_, count)| *count > 0.0), "{statuses:?}");
    assert_eq!(rig.stack.store.writes(), []);
    rig.set(Fault::NoTenant, false);
    rig.gap_check(0, None);
}
