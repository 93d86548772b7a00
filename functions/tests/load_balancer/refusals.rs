//! Refusals that pass: AWS shows a resource late, or still uses it for a while. The step reads again, and completes.

use std::time::Duration;

use stackdrop_simulator::{Account, Fault, FaultKind, When};

use crate::common::{act, apply, until_done};
use crate::{DOMAIN, GIVEN, NAME, assert_nothing_to_do, deployed, inventory, prepared};

fn arm(account: &Account, service: &str, operation: &str, when: When, code: &str) {
    let kind = FaultKind::Refused { code: code.into(), message: "the test says no".into() };
    account.arm(Fault::at(service, operation, when, kind));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_aws_refuses_for_a_moment_delays_a_deployment_and_does_not_fail_it() {
    for (operation, code) in [
        ("CreateLoadBalancer", "DuplicateLoadBalancerName"),
        ("CreateTargetGroup", "DuplicateTargetGroupName"),
        ("CreateListener", "DuplicateListener"),
        ("CreateListener", "CertificateNotFound"),
        ("CreateListener", "UnsupportedCertificate"),
        ("CreateRule", "PriorityInUse"),
        ("CreateRule", "TargetGroupNotFound"),
    ] {
        let (account, aws, mut deployment) = prepared(DOMAIN).await;
        arm(&account, "elasticloadbalancing", operation, When::Only(1), code);
        apply(&aws, &[NAME], &mut deployment).await;
        assert_eq!(account.strikes().len(), 1, "{operation}: {code}");
        until_done(&aws, NAME, "wait-until-stable", &deployment).await.unwrap();
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_nothing_to_do(&account, &aws, &deployment).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_certificate_of_the_user_that_the_load_balancer_rejects_is_told_at_once() {
    for code in ["CertificateNotFound", "UnsupportedCertificate"] {
        let (account, aws, deployment) = prepared(GIVEN).await;
        arm(&account, "elasticloadbalancing", "CreateListener", When::From(1), code);
        let refused = until_done(&aws, NAME, "apply", &deployment).await.unwrap_err();
        assert_eq!(refused.name(), "Refused");
        assert!(refused.chain().contains(code), "{}", refused.chain());
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_aws_refuses_for_a_moment_delays_a_deletion_and_does_not_fail_it() {
    for (service, operation, code, resource) in [
        ("elasticloadbalancing", "DeleteLoadBalancer", "OperationNotPermitted", "load-balancer"),
        ("elasticloadbalancing", "DeleteTargetGroup", "ResourceInUse", "target-group/web"),
        ("acm", "DeleteCertificate", "ResourceInUseException", "certificate"),
    ] {
        let (account, aws, deployment) = deployed(DOMAIN).await;
        arm(&account, service, operation, When::Only(1), code);
        let first = act(&aws, NAME, "delete", &deployment).await.unwrap();
        assert!(first["remaining"].to_string().contains(resource), "{operation}: {first}");
        until_done(&aws, NAME, "await-deletion", &deployment).await.unwrap();
        assert_eq!(account.strikes().len(), 1, "{operation}");
        assert_eq!(inventory(&account), Vec::<String>::new(), "{operation}");
    }
}
