//! Web ACLs of AWS WAF that filter the requests of a load balancer.

use aws_sdk_wafv2::types::Scope;
use serde_json::json;
use stackdrop_simulator::Seed;

use crate::common::{acting, allow, asked, sdk};
use crate::site::{Network, code, seconds};

const WEB_ACL: &str =
    "arn:aws:wafv2:eu-central-1:123456789012:regional/webacl/shop/3f2504e0-4f89-41d3-9a0c-0305e82c3301";

/// A network with a new load balancer, and a web ACL.
async fn site() -> (Network, aws_sdk_wafv2::Client, String) {
    let network = Network::new().await;
    network.account.seed(&Seed::WebAcl { arn: WEB_ACL.into() });
    let waf = aws_sdk_wafv2::Client::new(&sdk(&network.account));
    let load_balancer = network.load_balancer("shop").await;
    (network, waf, load_balancer)
}

#[tokio::test(start_paused = true)]
async fn a_web_acl_is_attached_to_an_active_load_balancer_until_it_is_detached_or_deleted() {
    let (network, waf, arn) = site().await;
    let attach = || waf.associate_web_acl().web_acl_arn(WEB_ACL).resource_arn(&arn).send();
    let attached = async || {
        let found = waf.get_web_acl_for_resource().resource_arn(&arn).send().await.unwrap();
        found.web_acl().map(|web_acl| web_acl.arn().to_owned())
    };
    assert_eq!(code(attach().await), "WAFUnavailableEntityException");
    seconds(600.0).await;
    assert_eq!(attached().await, None);
    attach().await.unwrap();
    assert_eq!(attached().await.as_deref(), Some(WEB_ACL));
    waf.disassociate_web_acl().resource_arn(&arn).send().await.unwrap();
    assert_eq!(attached().await, None);
    attach().await.unwrap();
    network.elb.delete_load_balancer().load_balancer_arn(&arn).send().await.unwrap();
    let found = waf.get_web_acl_for_resource().resource_arn(&arn).send().await;
    assert_eq!(code(found), "WAFNonexistentItemException");
}

#[tokio::test(start_paused = true)]
async fn what_does_not_exist_or_is_elsewhere_is_refused() {
    let (_network, waf, arn) = site().await;
    seconds(600.0).await;
    let attach = |web_acl: &str| waf.associate_web_acl().web_acl_arn(web_acl).resource_arn(&arn).send();
    let missing = WEB_ACL.replace("3f2504e0", "00000000");
    assert_eq!(code(attach(&missing).await), "WAFNonexistentItemException");
    let of_others = WEB_ACL.replace("123456789012", "999999999999");
    assert_eq!(code(attach(&of_others).await), "WAFInvalidParameterException");
    let get = |id: &str| waf.get_web_acl().scope(Scope::Regional).name("shop").id(id).send();
    assert_eq!(get(WEB_ACL.rsplit('/').next().unwrap()).await.unwrap().web_acl().unwrap().arn(), WEB_ACL);
    assert_eq!(code(get("00000000-4f89-41d3-9a0c-0305e82c3301").await), "WAFNonexistentItemException");
}

#[tokio::test(start_paused = true)]
async fn an_association_needs_permissions_for_both_sides() {
    let (network, waf, arn) = site().await;
    seconds(600.0).await;
    let attach = || waf.associate_web_acl().web_acl_arn(WEB_ACL).resource_arn(&arn).send();
    allow(&network.account, &json!([{ "Effect": "Allow", "Action": "wafv2:*", "Resource": "*" }]));
    assert_eq!(code(acting(attach()).await), "AccessDeniedException");
    let all = ["wafv2:*", "elasticloadbalancing:*"];
    allow(&network.account, &json!([{ "Effect": "Allow", "Action": all, "Resource": "*" }]));
    let associate =
        ["elasticloadbalancing:CreateWebACLAssociation loadbalancer/app", "wafv2:AssociateWebACL webacl"];
    assert_eq!(asked(&network.account, attach()).await, associate);
    let get = waf.get_web_acl_for_resource().resource_arn(&arn).send();
    let look = [
        "elasticloadbalancing:GetLoadBalancerWebACL loadbalancer/app",
        "wafv2:GetWebACL webacl",
        "wafv2:GetWebACLForResource webacl",
    ];
    assert_eq!(asked(&network.account, get).await, look);
    let detach = waf.disassociate_web_acl().resource_arn(&arn).send();
    let disassociate =
        ["elasticloadbalancing:DeleteWebACLAssociation loadbalancer/app", "wafv2:DisassociateWebACL"];
    assert_eq!(asked(&network.account, detach).await, disassociate);
}
