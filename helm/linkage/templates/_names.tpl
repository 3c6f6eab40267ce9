{{/* Names, labels and addresses that several manifests share. */}}

{{- define "linkage.roles" -}}node custodian broker analyst{{- end -}}

{{- define "linkage.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 36 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 36 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 36 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What every pod of this installation bears, and nothing else does. */}}
{{- define "linkage.instanceLabels" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "linkage.labels" -}}
{{ include "linkage.instanceLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* (dict "root" $ "role" role): labels that select the role's pods. */}}
{{- define "linkage.selector" -}}
{{ include "linkage.instanceLabels" .root }}
app.kubernetes.io/component: {{ .role }}
{{- end -}}

{{- define "linkage.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "linkage.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "linkage.fullname" .) -}}
{{- end -}}

{{/* The Secret that holds a role's keys or certificate: one that exists, or the one that an operator of the cluster makes. */}}
{{- define "linkage.keysSecret" -}}
{{- (index .root.Values .role).keys.existingSecret | default (printf "%s-%s-keys" (include "linkage.fullname" .root) .role) -}}
{{- end -}}
{{- define "linkage.tlsSecret" -}}
{{- (index .root.Values .role).tls.existingSecret | default (printf "%s-%s-tls" (include "linkage.fullname" .root) .role) -}}
{{- end -}}
{{- define "linkage.pageTlsSecret" -}}
{{- .Values.analyst.page.tls.existingSecret | default (printf "%s-page-tls" (include "linkage.fullname" .)) -}}
{{- end -}}
{{- define "linkage.agreementConfigMap" -}}
{{- .Values.agreement.existingConfigMap | default (printf "%s-convention" (include "linkage.fullname" .)) -}}
{{- end -}}

{{/* The address of an installed role (.of) for the others of this installation. */}}
{{- define "linkage.innerUrl" -}}
{{- printf "https://%s-%s:%v" (include "linkage.fullname" .root) .of (index .root.Values .of).service.port -}}
{{- end -}}

{{/* The address of broker or custodian (.of) as .role calls it. */}}
{{- define "linkage.url" -}}
{{- $given := get (index .root.Values .role) (printf "%sUrl" .of) -}}
{{- if $given -}}
{{- $given -}}
{{- else -}}
{{- include "linkage.innerUrl" . -}}
{{- end -}}
{{- end -}}

{{/* The port in an address (.url); 443 or 80 where it has none. */}}
{{- define "linkage.urlPort" -}}
{{- $port := regexFind ":[0-9]+$" (urlParse .).host -}}
{{- if $port -}}
{{- trimPrefix ":" $port -}}
{{- else -}}
{{- ternary "80" "443" (hasPrefix "http://" .) -}}
{{- end -}}
{{- end -}}

{{/* The analysts' sides whose audit logs the node countersigns, as JSON: those given, and the one of this installation. */}}
{{- define "linkage.analystUrls" -}}
{{- $urls := deepCopy .Values.node.analystUrls -}}
{{- with .Values.analyst -}}
{{- if and .enabled (not (hasKey $urls .id)) -}}
{{- $_ := set $urls .id (include "linkage.innerUrl" (dict "root" $ "of" "analyst")) -}}
{{- end -}}
{{- end -}}
{{- toJson $urls -}}
{{- end -}}

{{/* Whether replicas share the role's state, so that its pods need no volume of their own: "true" or "". */}}
{{- define "linkage.shared" -}}
{{- $v := index .root.Values .role -}}
{{- if and (has .role (list "custodian" "broker")) $v.database.existingSecret (or (eq .role "custodian") $v.objects.bucket) -}}
true
{{- end -}}
{{- end -}}
