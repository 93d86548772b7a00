//! The listeners: HTTPS on 443, and on 80 a redirect to it.

use aws_sdk_elasticloadbalancingv2::operation::create_listener::builders::CreateListenerFluentBuilder;
use aws_sdk_elasticloadbalancingv2::types::{
    Action, ActionTypeEnum, Certificate, FixedResponseActionConfig, Listener, ProtocolEnum,
    RedirectActionConfig, RedirectActionStatusCodeEnum,
};

use super::NAME;
use super::balancer::Handle;
use super::observed::{ABSENT, Observed, Tagged, elb_tags, keep_tags};
use crate::aws::error::{Answer, StepError};
use crate::contract::component::Work;
use crate::deployment::plan::{Plan, Verb};

pub(super) const HTTPS_PORT: i32 = 443;
pub(super) const HTTP_PORT: i32 = 80;
pub(super) const HTTPS_ROLE: &str = "listener/https";
pub(super) const HTTP_ROLE: &str = "listener/http";

/// TLS 1.2 and 1.3 with forward secrecy, and nothing older: what AWS recommends.
const TLS_POLICY: &str = "ELBSecurityPolicy-TLS13-1-2-2021-06";
/// What a request gets that no route is for.
const NOT_FOUND: (&str, &str, &str) = ("404", "text/plain", "There is nothing at this address.");

/// How AWS says that it does not know a certificate that has just been issued (Terraform waits five minutes).
const CERTIFICATE_LATE: [&str; 2] = ["CertificateNotFound", "UnsupportedCertificate"];

fn not_found() -> Action {
    let (status, kind, text) = NOT_FOUND;
    let answer = FixedResponseActionConfig::builder()
        .status_code(status)
        .content_type(kind)
        .message_body(text)
        .build();
    Action::builder().r#type(ActionTypeEnum::FixedResponse).fixed_response_config(answer).build()
}

fn to_https() -> Action {
    let redirect = RedirectActionConfig::builder()
        .protocol("HTTPS")
        .port(HTTPS_PORT.to_string())
        .status_code(RedirectActionStatusCodeEnum::Http301)
        .build();
    Action::builder().r#type(ActionTypeEnum::Redirect).redirect_config(redirect).build()
}

/// What differs between a listener and how it should be: field, now, by the spec. The certificate is compared where
/// it is known.
fn differing(detail: &Listener, certificate: Option<&str>) -> Vec<(&'static str, String, String)> {
    let mut fields = Vec::new();
    let mut compare = |field, from: &str, to: &str| {
        if from != to {
            fields.push((field, from.to_owned(), to.to_owned()));
        }
    };
    let protocol = detail.protocol().map_or("", ProtocolEnum::as_str);
    if detail.port() == Some(HTTPS_PORT) {
        compare("protocol", protocol, "HTTPS");
        compare("sslPolicy", detail.ssl_policy().unwrap_or_default(), TLS_POLICY);
        let now = detail.certificates().first().and_then(Certificate::certificate_arn).unwrap_or_default();
        compare("certificate", now, certificate.unwrap_or(now));
        compare("defaultAction", &describe(detail), "404");
    } else {
        compare("protocol", protocol, "HTTP");
        compare("defaultAction", &describe(detail), "redirect to HTTPS");
    }
    fields
}

/// A listener's default action in words: the same words as ours only if it is the same.
fn describe(detail: &Listener) -> String {
    let [action] = detail.default_actions() else { return "several actions".into() };
    if let Some(answer) = action.fixed_response_config() {
        let now = (
            answer.status_code().unwrap_or_default(),
            answer.content_type().unwrap_or_default(),
            answer.message_body().unwrap_or_default(),
        );
        return if now == NOT_FOUND { "404".into() } else { format!("another answer, {}", now.0) };
    }
    if let Some(redirect) = action.redirect_config() {
        let unchanged = |now: Option<&str>, form: &str| now.is_none_or(|now| now == form);
        let ours = redirect.protocol() == Some("HTTPS")
            && redirect.port() == Some("443")
            && redirect.status_code() == Some(&RedirectActionStatusCodeEnum::Http301)
            && unchanged(redirect.host(), "#{host}")
            && unchanged(redirect.path(), "/#{path}")
            && unchanged(redirect.query(), "#{query}");
        return if ours { "redirect to HTTPS".into() } else { "another redirect".into() };
    }
    action.r#type().map_or("none", ActionTypeEnum::as_str).to_owned()
}

fn redirects(work: &Work<'_>) -> bool {
    work.spec.load_balancer.as_ref().is_some_and(|desired| desired.redirect_http)
}

pub(super) fn plan(work: &Work<'_>, observed: &Observed, certificate: Option<&str>, plan: &mut Plan) {
    let desired = [(HTTPS_PORT, HTTPS_ROLE, true), (HTTP_PORT, HTTP_ROLE, redirects(work))];
    for (port, logical_id, desired) in desired {
        match (observed.listeners.get(&port), desired) {
            (None, true) => {
                plan.change(Verb::Create, logical_id);
            }
            (Some(listener), true) => {
                for (field, from, to) in differing(&listener.detail, certificate) {
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
}

/// The HTTPS listener's ARN, once there is a certificate that it can have.
pub(super) async fn apply(
    work: &Work<'_>,
    observed: &Observed,
    handle: &Handle,
    certificate: Option<&str>,
) -> Result<Option<String>, StepError> {
    let https = async {
        match (certificate, observed.listeners.get(&HTTPS_PORT)) {
            (Some(certificate), None) => create_https(work, handle, certificate).await.map(Some),
            (certificate, Some(listener)) => update(work, listener, HTTPS_ROLE, certificate).await.map(Some),
            (None, None) => Ok(None),
        }
    };
    let http = async {
        match (redirects(work), observed.listeners.get(&HTTP_PORT)) {
            (true, None) => create_http(work, handle).await.map(drop),
            (true, Some(listener)) => update(work, listener, HTTP_ROLE, None).await.map(drop),
            (false, Some(listener)) => delete(work, listener).await,
            (false, None) => Ok(()),
        }
    };
    let (https, http) = tokio::join!(https, http);
    http?;
    https
}

async fn create_https(work: &Work<'_>, handle: &Handle, certificate: &str) -> Result<String, StepError> {
    let call = new(work, handle, HTTPS_ROLE)
        .port(HTTPS_PORT)
        .protocol(ProtocolEnum::Https)
        .ssl_policy(TLS_POLICY)
        .certificates(Certificate::builder().certificate_arn(certificate).build())
        .default_actions(not_found());
    create(call, HTTPS_ROLE).await
}

async fn create_http(work: &Work<'_>, handle: &Handle) -> Result<String, StepError> {
    let call = new(work, handle, HTTP_ROLE);
    create(call.port(HTTP_PORT).protocol(ProtocolEnum::Http).default_actions(to_https()), HTTP_ROLE).await
}

fn new(work: &Work<'_>, handle: &Handle, logical_id: &str) -> CreateListenerFluentBuilder {
    let call = work.aws.elb().create_listener().load_balancer_arn(&handle.arn);
    call.set_tags(Some(elb_tags(work.stack.tags(NAME, logical_id))))
}

async fn create(call: CreateListenerFluentBuilder, logical_id: &str) -> Result<String, StepError> {
    let answer = call.send().await.unless(&CERTIFICATE_LATE);
    let answer = match answer {
        Ok(None) => return Err(certificate_late()),
        Ok(Some(answer)) => Ok(answer),
        Err(refusal) => Err(refusal),
    };
    let late = [&ABSENT[..], &["DuplicateListener"]].concat();
    let answer = answer.pending_on(
        &late,
        "the load balancer and its listeners to be visible",
        format!("creating the {logical_id} of the load balancer"),
    )?;
    let arn = answer.listeners().first().and_then(Listener::listener_arn);
    let arn = arn.ok_or_else(|| StepError::lacking("the listener's ARN"))?;
    tracing::info!(arn, logical_id, "Listener created.");
    Ok(arn.to_owned())
}

fn certificate_late() -> StepError {
    StepError::pending("the certificate to reach Elastic Load Balancing")
}

async fn update(
    work: &Work<'_>,
    listener: &Tagged<Listener>,
    logical_id: &str,
    certificate: Option<&str>,
) -> Result<String, StepError> {
    let arn = listener.detail.listener_arn().unwrap_or_default();
    keep_tags(work, arn, logical_id, &listener.tags).await?;
    if differing(&listener.detail, certificate).is_empty() {
        return Ok(arn.to_owned());
    }
    let call = work.aws.elb().modify_listener().listener_arn(arn);
    let call = if logical_id == HTTPS_ROLE {
        let now = listener.detail.certificates().first().and_then(Certificate::certificate_arn);
        let certificate =
            certificate.or(now).map(|arn| vec![Certificate::builder().certificate_arn(arn).build()]);
        call.protocol(ProtocolEnum::Https)
            .ssl_policy(TLS_POLICY)
            .set_certificates(certificate)
            .default_actions(not_found())
    } else {
        call.protocol(ProtocolEnum::Http).default_actions(to_https())
    };
    match call.send().await.unless(&CERTIFICATE_LATE).doing(format!("changing the {logical_id} {arn}"))? {
        Some(_) => tracing::info!(arn, logical_id, "Listener changed."),
        None => return Err(certificate_late()),
    }
    Ok(arn.to_owned())
}

async fn delete(work: &Work<'_>, listener: &Tagged<Listener>) -> Result<(), StepError> {
    let arn = listener.detail.listener_arn().unwrap_or_default();
    let call = work.aws.elb().delete_listener().listener_arn(arn).send().await;
    call.unless(&ABSENT).doing(format!("deleting the listener {arn}"))?;
    tracing::info!(arn, "Listener deleted.");
    Ok(())
}
