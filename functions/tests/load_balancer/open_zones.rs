//! Zones that the installation does not open to stacks, or no longer.

use serde_json::{Value, json};
use stackdrop_functions::Aws;
use stackdrop_functions::aws::error::StepError;
use stackdrop_functions::aws::rules::Rules;
use stackdrop_simulator::Account;

use crate::{DOMAIN, GIVEN, NAME, ZONE, act, common, deployed, next, prepared, problems, writes};

/// The functions' clients after somebody has taken all zones out of the installation's parameter.
fn without_zones(account: &Account) -> Aws {
    let settings = stackdrop_functions::Settings { rules: Rules::default(), ..common::settings() };
    Aws::new(common::sdk(account), settings)
}

/// The state of the deployment that destroys a stack.
fn destroying(deployment: &Value) -> Value {
    let mut destroying = next(deployment, DOMAIN);
    destroying["destroying"] = json!(true);
    destroying
}

#[tokio::test(start_paused = true)]
async fn a_zone_that_is_not_open_is_never_called() {
    let (account, _, deployment) = prepared(DOMAIN).await;
    let aws = without_zones(&account);
    let problems = problems(&aws, &deployment).await;
    let why = format!(
        "loadBalancer.hostedZoneId: zone {ZONE} is not open to stacks in this installation (open: none)"
    );
    assert!(
        problems.contains(&why) && problems.contains("add it to the parameter HostedZones"),
        "{problems}"
    );
    let before = writes(&account).len();
    let refused = act(&aws, NAME, "apply", &deployment).await.unwrap_err();
    assert!(matches!(&refused, StepError::InvalidSpec(text) if text.contains(&why)), "{refused:?}");
    assert_eq!(writes(&account).len(), before);
    assert!(account.call_log().iter().all(|call| call.service != "route53"));
}

#[tokio::test(start_paused = true)]
async fn a_zone_that_was_taken_out_is_named_until_the_stack_no_longer_uses_it() {
    let (account, open, deployment) = deployed(DOMAIN).await;
    let aws = without_zones(&account);
    let again = next(&deployment, DOMAIN);
    let same = problems(&aws, &again).await;
    assert!(same.contains(&format!("zone {ZONE} is not open to stacks")), "{same}");
    // Another spec, without a load balancer or with another certificate, must still delete the records.
    let put_back = "put it back into the parameter HostedZones";
    for spec in [GIVEN, "stack: shop\n"] {
        let moved = problems(&aws, &next(&deployment, spec)).await;
        assert!(moved.contains(&format!("the stack has DNS records in zone {ZONE}")), "{moved}");
        assert!(moved.contains(put_back), "{moved}");
    }
    let destroying = destroying(&deployment);
    let destroyed = problems(&aws, &destroying).await;
    assert!(destroyed.contains(put_back), "{destroyed}");
    let before = writes(&account).len();
    let stays = act(&aws, NAME, "delete", &destroying).await.unwrap_err().to_string();
    assert!(stays.contains(put_back), "{stays}");
    assert_eq!(writes(&account).len(), before);
    // With the zone, nothing is in the way.
    assert_eq!(problems(&open, &destroying).await, "[]");
}
