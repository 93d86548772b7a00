//! The listeners: HTTPS on port 443, and on port 80 a redirect to HTTPS.

use aws_sdk_elasticloadbalancingv2::operation::create_listener::builders::CreateListenerFluentBuilder;
use aws_sdk_elasticloadbalancingv2::types::{
    Action, ActionTypeEnum, Certificate, FixedResponseActionConfig, Listener, MutualAuthenticationAttributes,
    ProtocolEnum, RedirectActionConfig, RedirectActionStatusCodeEnum,
};

use super::NAME;
use super::balancer::Handle;
use super::observed::{ABSENT, Observed, Tagged, elb_tags, repair_tags};
use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;
use crate::contract::ports::{HTTP, HTTPS};
use crate::deployment::plan::{Plan, Verb};

pub(super) const HTTPS_PORT: i32 = HTTPS as i32;
pub(super) const HTTP_PORT: i32 = HTTP as i32;
pub(super) const HTTPS_LOGICAL_ID: &str = "listener/https";
pub(super) const HTTP_LOGICAL_ID: &str = "listener/http";

/// TLS 1.2 and 1.3 with forward secrecy and post-quantum key exchange, which AWS recommends.
/// Source: "Security policies for your Application Load Balancer" in the user guide of Elastic Load Balancing.
const TLS_POLICY: &str = "ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09";
/// Stricter policies. If the spec names none, a person may choose one of them in the account.
const STRICTER_TLS_POLICIES: [&str; 3] = [
    "ELBSecurityPolicy-TLS13-1-2-Res-FIPS-PQ-2025-09",
    "ELBSecurityPolicy-TLS13-1-3-FIPS-PQ-2025-09",
    "ELBSecurityPolicy-TLS13-1-3-PQ-2025-09",
];
/// The response to a request without a route.
const NOT_FOUND: (&str, &str, &str) = ("404", "text/plain", "There is nothing at this address.");

/// The desired TLS policy; `actual` is the listener's.
fn tls_policy<'a>(work: &'a Work<'_>, actual: Option<&'a str>) -> &'a str {
    let desired = work.spec.load_balancer.as_ref().and_then(|desired| desired.tls_policy.as_deref());
    let kept = actual.filter(|actual| STRICTER_TLS_POLICIES.contains(actual));
    desired.or(kept).unwrap_or(TLS_POLICY)
}

/// The error codes for a certificate that was just issued and is not visible yet (Terraform waits five minutes).
const CERTIFICATE_NOT_VISIBLE: [&str; 2] = ["CertificateNotFound", "UnsupportedCertificate"];

fn not_found() -> Action {
    let (status, kind, text) = NOT_FOUND;
    let response = FixedResponseActionConfig::builder()
        .status_code(status)
        .content_type(kind)
        .message_body(text)
        .build();
    Action::builder().r#type(ActionTypeEnum::FixedResponse).fixed_response_config(response).build()
}

fn to_https() -> Action {
    let redirect = RedirectActionConfig::builder()
        .protocol("HTTPS")
        .port(HTTPS_PORT.to_string())
        .status_code(RedirectActionStatusCodeEnum::Http301)
        .build();
    Action::builder().r#type(ActionTypeEnum::Redirect).redirect_config(redirect).build()
}

/// The fields of a listener that differ: name, actual and desired value. The certificate is compared if it is known.
fn differing(
    work: &Work<'_>,
    detail: &Listener,
    certificate: Option<&str>,
) -> Vec<(&'static str, String, String)> {
    let mut fields = Vec::new();
    let mut compare = |field, from: &str, to: &str| {
        if from != to {
            fields.push((field, from.to_owned(), to.to_owned()));
        }
    };
    let protocol = detail.protocol().map_or("", ProtocolEnum::as_str);
    if detail.port() == Some(HTTPS_PORT) {
        compare("protocol", protocol, "HTTPS");
        compare("sslPolicy", detail.ssl_policy().unwrap_or_default(), tls_policy(work, detail.ssl_policy()));
        let clients = detail.mutual_authentication().and_then(|clients| clients.mode()).unwrap_or("off");
        compare("mutualAuthentication", clients, "off");
        let actual = detail.certificates().first().and_then(Certificate::certificate_arn).unwrap_or_default();
        compare("certificate", actual, certificate.unwrap_or(actual));
        compare("defaultAction", &describe(detail), "404");
    } else {
        compare("protocol", protocol, "HTTP");
        compare("defaultAction", &describe(detail), "redirect to HTTPS");
    }
    fields
}

/// Describes a listener's default action. Equal actions have equal descriptions.
fn describe(detail: &Listener) -> String {
    let [action] = detail.default_actions() else { return "several actions".into() };
    if let Some(response) = action.fixed_response_config() {
        let actual = (
            response.status_code().unwrap_or_default(),
            response.content_type().unwrap_or_default(),
            response.message_body().unwrap_or_default(),
        );
        return if actual == NOT_FOUND { "404".into() } else { format!("another response, {}", actual.0) };
    }
    if let Some(redirect) = action.redirect_config() {
        let unchanged = |actual: Option<&str>, form: &str| actual.is_none_or(|actual| actual == form);
        let ours = redirect.protocol() == Some("HTTPS")
            && redirect.port() == Some(&*HTTPS.to_string())
            && redirect.status_code() == Some(&RedirectActionStatusCodeEnum::Http301)
            && unchanged(redirect.host(), "#{host}")
            && unchanged(redirect.path(), "/#{path}")
            && unchanged(redirect.query(), "#{query}");
        return if ours { "redirect to HTTPS".into() } else { "another redirect".into() };
    }
    action.r#type().map_or("none", ActionTypeEnum::as_str).to_owned()
}

/// Turns off the authentication of clients by certificates, if somebody turned it on.
fn no_client_certificates(detail: &Listener) -> Option<MutualAuthenticationAttributes> {
    let mode = detail.mutual_authentication()?.mode()?;
    (mode != "off").then(|| MutualAuthenticationAttributes::builder().mode("off").build())
}

fn redirects(work: &Work<'_>) -> bool {
    work.spec.load_balancer.as_ref().is_some_and(|desired| desired.redirect_http)
}

pub(super) fn plan(work: &Work<'_>, observed: &Observed, certificate: Option<&str>, plan: &mut Plan) {
    let desired = [(HTTPS_PORT, HTTPS_LOGICAL_ID, true), (HTTP_PORT, HTTP_LOGICAL_ID, redirects(work))];
    for (port, logical_id, desired) in desired {
        match (observed.listeners.get(&port), desired) {
            (None, true) => {
                plan.change(Verb::Create, logical_id);
            }
            (Some(listener), true) => {
                for (field, from, to) in differing(work, &listener.detail, certificate) {
                    plan.update(logical_id, field, from, to);
                }
                plan.tags(&work.stack, NAME, logical_id, &listener.tags);
            }
            (Some(_), false) => {
                plan.change(Verb::Delete, logical_id);
            }
            (None, false) => {}
        }
    }
    for port in observed.not_owned_ports.iter().filter(|port| !is_needed(work, **port)) {
        plan.warn(
            format!("listener on port {port}"),
            format!("the listener on port {port} is not managed by this stack"),
            "delete the listener, unless it is intended",
        );
    }
}

/// Whether the stack needs a listener on this port: another listener there is a problem.
fn is_needed(work: &Work<'_>, port: i32) -> bool {
    port == HTTPS_PORT || (port == HTTP_PORT && redirects(work))
}

/// Creates, updates or deletes the listeners. Returns the HTTPS listener's ARN, once its certificate is issued.
pub(super) async fn apply(
    work: &Work<'_>,
    observed: &Observed,
    handle: &Handle,
    certificate: Option<&str>,
) -> Result<Option<String>, StepError> {
    let https = async {
        match (certificate, observed.listeners.get(&HTTPS_PORT)) {
            (Some(certificate), None) => create_https(work, handle, certificate).await.map(Some),
            (certificate, Some(listener)) => {
                update(work, listener, HTTPS_LOGICAL_ID, certificate).await.map(Some)
            }
            (None, None) => Ok(None),
        }
    };
    let http = async {
        match (redirects(work), observed.listeners.get(&HTTP_PORT)) {
            (true, None) => create_http(work, handle).await.map(drop),
            (true, Some(listener)) => update(work, listener, HTTP_LOGICAL_ID, None).await.map(drop),
            (false, Some(listener)) => delete(work, listener).await,
            (false, None) => Ok(()),
        }
    };
    let (https, http) = tokio::join!(https, http);
    http?;
    https
}

async fn create_https(work: &Work<'_>, handle: &Handle, certificate: &str) -> Result<String, StepError> {
    let call = new(work, handle, HTTPS_LOGICAL_ID)
        .port(HTTPS_PORT)
        .protocol(ProtocolEnum::Https)
        .ssl_policy(tls_policy(work, None))
        .certificates(Certificate::builder().certificate_arn(certificate).build())
        .default_actions(not_found());
    create(work, call, HTTPS_LOGICAL_ID).await
}

async fn create_http(work: &Work<'_>, handle: &Handle) -> Result<String, StepError> {
    let call = new(work, handle, HTTP_LOGICAL_ID);
    create(
        work,
        call.port(HTTP_PORT).protocol(ProtocolEnum::Http).default_actions(to_https()),
        HTTP_LOGICAL_ID,
    )
    .await
}

fn new(work: &Work<'_>, handle: &Handle, logical_id: &str) -> CreateListenerFluentBuilder {
    let call = work.aws.elb().create_listener().load_balancer_arn(&handle.arn);
    call.set_tags(Some(elb_tags(work.stack.tags(NAME, logical_id))))
}

async fn create(
    work: &Work<'_>,
    call: CreateListenerFluentBuilder,
    logical_id: &str,
) -> Result<String, StepError> {
    let response = call.send().await.unless(certificate_codes(work));
    let response = match response {
        Ok(None) => return Err(certificate_not_visible()),
        Ok(Some(response)) => Ok(response),
        Err(refusal) => Err(refusal),
    };
    let not_visible = [&ABSENT[..], &["DuplicateListener"]].concat();
    let response = response.stalled_on(
        &not_visible,
        "the load balancer and its listeners to become visible",
        format!("creating listener {logical_id}"),
    )?;
    let arn = response.listeners().first().and_then(Listener::listener_arn);
    let arn = arn.ok_or_else(|| StepError::incomplete("the listener's ARN"))?;
    tracing::info!(arn, logical_id, "Listener created.");
    Ok(arn.to_owned())
}

/// The codes after which the call is repeated: ACM issued the requested certificate seconds ago. A given certificate was
/// issued before, so that Elastic Load Balancing rejects it for another reason, at once.
fn certificate_codes(work: &Work<'_>) -> &'static [&'static str] {
    let given = work.spec.load_balancer.as_ref().is_some_and(|desired| desired.certificate_arn.is_some());
    if given { &[] } else { &CERTIFICATE_NOT_VISIBLE }
}

fn certificate_not_visible() -> StepError {
    StepError::stalled("the certificate to become visible to Elastic Load Balancing")
}

async fn update(
    work: &Work<'_>,
    listener: &Tagged<Listener>,
    logical_id: &str,
    certificate: Option<&str>,
) -> Result<String, StepError> {
    let arn = listener.detail.listener_arn().unwrap_or_default();
    repair_tags(work, arn, logical_id, &listener.tags).await?;
    if differing(work, &listener.detail, certificate).is_empty() {
        return Ok(arn.to_owned());
    }
    let call = work.aws.elb().modify_listener().listener_arn(arn);
    let call = if logical_id == HTTPS_LOGICAL_ID {
        let actual = listener.detail.certificates().first().and_then(Certificate::certificate_arn);
        let certificate =
            certificate.or(actual).map(|arn| vec![Certificate::builder().certificate_arn(arn).build()]);
        call.protocol(ProtocolEnum::Https)
            .ssl_policy(tls_policy(work, listener.detail.ssl_policy()))
            .set_mutual_authentication(no_client_certificates(&listener.detail))
            .set_certificates(certificate)
            .default_actions(not_found())
    } else {
        call.protocol(ProtocolEnum::Http).default_actions(to_https())
    };
    match call
        .send()
        .await
        .unless(certificate_codes(work))
        .doing(format!("updating listener {logical_id} ({arn})"))?
    {
        Some(_) => tracing::info!(arn, logical_id, "Listener updated."),
        None => return Err(certificate_not_visible()),
    }
    Ok(arn.to_owned())
}

async fn delete(work: &Work<'_>, listener: &Tagged<Listener>) -> Result<(), StepError> {
    let arn = listener.detail.listener_arn().unwrap_or_default();
    let call = work.aws.elb().delete_listener().listener_arn(arn).send().await;
    call.unless(&ABSENT).doing(format!("deleting listener {arn}"))?;
    tracing::info!(arn, "Listener deleted.");
    Ok(())
}
