//! The web ACL that filters the load balancer's requests.

use std::time::Duration;

use stackdrop_functions::aws::error::StepError;
use stackdrop_simulator::{Fault, FaultKind, Seed, When};

use crate::common::{act, aws, deployment, until_done, writes};
use crate::{GIVEN, NAME, account, assert_nothing_to_do, changes, deployed, next, prepared, problems};

const WEB_ACL: &str =
    "arn:aws:wafv2:eu-central-1:123456789012:regional/webacl/shop/3f2504e0-4f89-41d3-9a0c-0305e82c3301";

fn filtered() -> String {
    GIVEN.replace("loadBalancer:", &format!("loadBalancer:\n  webAclArn: {WEB_ACL}"))
}

#[tokio::test(start_paused = true)]
async fn no_listener_exists_before_the_web_acl_is_attached() {
    let (account, aws, deployment) = prepared(&filtered()).await;
    account.seed(&Seed::WebAcl { arn: WEB_ACL.into() });
    let first = act(&aws, NAME, "apply", &deployment).await.unwrap_err();
    assert_eq!(first.name(), "Pending");
    assert!(first.to_string().contains("so that AWS WAF can protect it"), "{first}");
    let calls = writes(&account);
    assert!(!calls.iter().any(|call| call == "elasticloadbalancing:CreateListener"), "{calls:?}");
    until_done(&aws, NAME, "apply", &deployment).await.unwrap();
    let calls = writes(&account);
    assert!(calls.iter().any(|call| call == "elasticloadbalancing:CreateListener"), "{calls:?}");
    tokio::time::advance(Duration::from_secs(5)).await;
    assert_nothing_to_do(&account, &aws, &deployment).await;
}

#[tokio::test(start_paused = true)]
async fn a_stack_that_never_had_a_web_acl_does_not_ask_for_one() {
    let (account, aws, deployment) = deployed(GIVEN).await;
    let update = next(&deployment, GIVEN);
    assert_nothing_to_do(&account, &aws, &update).await;
    assert!(account.call_log().iter().all(|call| call.service != "wafv2"));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_lost_attaches_the_web_acl_once() {
    let (account, aws, deployment) = deployed(GIVEN).await;
    account.seed(&Seed::WebAcl { arn: WEB_ACL.into() });
    let update = next(&deployment, &filtered());
    assert_eq!(changes(&aws, &update).await, ["update load-balancer webAcl"]);
    account.arm(Fault::at("wafv2", "AssociateWebACL", When::Only(1), FaultKind::LostAfter));
    let lost = act(&aws, NAME, "apply", &update).await.unwrap_err();
    assert_eq!(lost.name(), "Transient");
    assert_nothing_to_do(&account, &aws, &update).await;
}

#[tokio::test(start_paused = true)]
async fn a_web_acl_of_another_account_or_region_is_refused() {
    let account = account();
    let aws = aws(&account);
    for (from, to) in
        [(":123456789012:regional", ":210987654321:regional"), ("wafv2:eu-central-1", "wafv2:us-east-1")]
    {
        let deployment = deployment(&filtered().replace(from, to));
        let why = "is not in the account 123456789012 and the region eu-central-1";
        let found = problems(&aws, &deployment).await;
        assert!(found.contains(why), "{found}");
        let refused = act(&aws, NAME, "apply", &deployment).await.unwrap_err();
        assert!(matches!(&refused, StepError::InvalidSpec(text) if text.contains(why)), "{refused:?}");
    }
    assert!(writes(&account).is_empty());
}
