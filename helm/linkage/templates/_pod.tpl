{{/*
The pod of a role. (dict "root" $ "role" role) throughout.

Secret volumes belong to root and to the pod's fsGroup, mode 0440: the program takes a secret that root holds for the group of an
unprivileged account, and nobody else (services/common/src/fsx.rs). They are mounted whole and never by subPath, so that a renewed
certificate reaches the running process.
*/}}

{{- define "linkage.pod.security" -}}
runAsNonRoot: true
runAsUser: {{ int64 .Values.podAccount.user }}
runAsGroup: {{ int64 .Values.podAccount.group }}
fsGroup: {{ int64 .Values.podAccount.group }}
# Always would open the state's private files to the group at every start.
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "linkage.container.security" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "linkage.container.logEnv" -}}
- name: LINKAGE_LOG
  value: {{ .Values.log.filter | quote }}
- name: LINKAGE_LOG_FORMAT
  value: {{ .Values.log.format | quote }}
{{- end -}}

{{- define "linkage.container.env" -}}
{{ include "linkage.container.logEnv" . }}
- name: SQLITE_TMPDIR
  value: /tmp
{{- with .Values.telemetry.otlpEndpoint }}
- name: LINKAGE_OTLP_ENDPOINT
  value: {{ . | quote }}
{{- end }}
{{- end -}}

{{- define "linkage.pod.common" -}}
serviceAccountName: {{ include "linkage.serviceAccount" . }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
securityContext:
  {{- include "linkage.pod.security" . | nindent 2 }}
{{- end -}}

{{- define "linkage.pod" -}}
{{- $root := .root -}}{{- $role := .role -}}{{- $v := index .root.Values .role -}}
{{- $serves := ne $role "node" -}}
metadata:
  labels:
    {{- include "linkage.selector" . | nindent 4 }}
    app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
    {{- with $v.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    # A configuration is read at start: another one starts the pod anew.
    checksum/config: {{ include (printf "linkage.config.%s" $role) . | sha256sum }}
    checksum/files: {{ include "linkage.configFiles" . | sha256sum }}
    checksum/agreement: {{ print $root.Values.agreement.text $root.Values.agreement.signatures | sha256sum }}
    kubectl.kubernetes.io/default-container: {{ $role }}
    {{- with $v.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  {{- include "linkage.pod.common" $root | nindent 2 }}
  terminationGracePeriodSeconds: {{ int64 $v.terminationGracePeriodSeconds }}
  {{- with $v.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with $v.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $v.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $v.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if and (include "linkage.shared" .) $v.topologySpread.enabled }}
  topologySpreadConstraints:
    {{- range $key := list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
    - maxSkew: 1
      topologyKey: {{ $key }}
      whenUnsatisfiable: {{ $v.topologySpread.whenUnsatisfiable }}
      labelSelector:
        matchLabels:
          {{- include "linkage.selector" $ | nindent 10 }}
      matchLabelKeys: [pod-template-hash]
    {{- end }}
  {{- end }}
  containers:
    - name: {{ $role }}
      image: {{ include "linkage.image" $root }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      command: [/linkage]
      args: [{{ $role }}, serve, --config, /etc/linkage/config/{{ $role }}.toml]
      env:
        {{- include "linkage.container.env" $root | nindent 8 }}
        {{- if include "linkage.shared" . }}
        # Each process has an audit log of its own, in a folder of this name.
        - name: LINKAGE_REPLICA
          valueFrom: { fieldRef: { fieldPath: metadata.name } }
        {{- end }}
      ports:
        {{- if $serves }}
        - name: grpc
          containerPort: 8443
        {{- end }}
        {{- if dig "page" "enabled" false $v }}
        - name: page
          containerPort: 8444
        {{- end }}
        - name: ops
          containerPort: 9464
      # The role's own port asks for a certificate, which the kubelet has none of: health is told on the port beside it, from
      # the first moment on, so that a long start (a database migrated, a study checked) is not taken for a death.
      startupProbe:
        grpc: { port: 9464, service: liveness }
        periodSeconds: 2
        failureThreshold: 30
      livenessProbe:
        grpc: { port: 9464, service: liveness }
        periodSeconds: 20
        timeoutSeconds: 5
        failureThreshold: 6
      readinessProbe:
        grpc: { port: 9464, service: readiness }
        periodSeconds: 10
        timeoutSeconds: 5
      {{- if $serves }}
      lifecycle:
        preStop:
          # Until no load balancer sends new connections here.
          sleep: { seconds: 5 }
      {{- end }}
      resources:
        {{- toYaml $v.resources | nindent 8 }}
      securityContext:
        {{- include "linkage.container.security" $root | nindent 8 }}
      volumeMounts:
        {{- include "linkage.pod.mounts" . | nindent 8 }}
  volumes:
    {{- include "linkage.pod.volumes" . | nindent 4 }}
{{- end -}}

{{/* With .backup only what a backup holds: no deliveries, no secret of the page, of its login or of the object store. */}}
{{- define "linkage.pod.mounts" -}}
{{- $v := index .root.Values .role -}}
- { name: config, mountPath: /etc/linkage/config, readOnly: true }
- { name: agreement, mountPath: /etc/linkage/agreement, readOnly: true }
- { name: terminations, mountPath: /etc/linkage/terminations, readOnly: true }
- { name: keys, mountPath: /etc/linkage/keys, readOnly: true }
- { name: tls, mountPath: /etc/linkage/tls, readOnly: true }
{{- if and (hasKey $v "database") $v.database.existingSecret }}
- { name: database, mountPath: /etc/linkage/database, readOnly: true }
{{- end }}
{{- if and (not .backup) (dig "objects" "bucket" "" $v) }}
- { name: objects, mountPath: /etc/linkage/objects, readOnly: true }
- { name: objects-ca, mountPath: /etc/linkage/objects-ca, readOnly: true }
{{- end }}
{{- if and (not .backup) (dig "page" "enabled" false $v) }}
{{- if or $v.page.tls.existingSecret $v.page.tls.certManager.enabled }}
- { name: page-tls, mountPath: /etc/linkage/page-tls, readOnly: true }
{{- end }}
{{- if $v.page.oidc.enabled }}
- { name: oidc-ca, mountPath: /etc/linkage/oidc-ca, readOnly: true }
{{- if $v.page.oidc.clientSecretName }}
- { name: oidc, mountPath: /etc/linkage/oidc, readOnly: true }
{{- end }}
{{- end }}
{{- end }}
- { name: data, mountPath: /var/lib/linkage }
{{- if include "linkage.shared" . }}
- { name: audit, mountPath: /var/lib/linkage-audit }
{{- end }}
{{- if and (not .backup) (dig "inbox" "enabled" false $v) }}
- { name: inbox, mountPath: /var/lib/linkage-inbox }
{{- end }}
- { name: tmp, mountPath: /tmp }
{{- end -}}

{{- define "linkage.pod.volumes" -}}
{{- $root := .root -}}{{- $role := .role -}}{{- $v := index .root.Values .role -}}
{{- $fullname := include "linkage.fullname" .root -}}
{{- include "linkage.volume.config" (dict "root" $root "role" $role "configMap" (printf "%s-%s" $fullname $role)) }}
- name: agreement
  configMap:
    name: {{ include "linkage.agreementConfigMap" $root }}
    items:
      - { key: {{ $root.Values.agreement.agreementKey }}, path: convention.toml }
      - { key: {{ $root.Values.agreement.signaturesKey }}, path: convention.signatures.toml }
# A notice counts from the moment it lies there; until somebody gives one there is none.
- name: terminations
  configMap:
    name: {{ $root.Values.agreement.terminationsConfigMap | default (printf "%s-denonciations" $root.Release.Name) }}
    optional: true
- name: keys
  secret:
    secretName: {{ include "linkage.keysSecret" . }}
    defaultMode: 0440
    items:
      {{- range $file := splitList " " (include "linkage.keyFiles" .) }}
      - { key: {{ $file }}, path: {{ $file }} }
      {{- end }}
- name: tls
  projected:
    defaultMode: 0440
    sources:
      - secret:
          name: {{ include "linkage.tlsSecret" . }}
          items:
            - { key: {{ $v.tls.certificateKey }}, path: tls.crt }
            - { key: {{ $v.tls.privateKeyKey }}, path: tls.key }
            {{- if not $v.tls.caConfigMap.name }}
            - { key: {{ $v.tls.caKey }}, path: ca.crt }
            {{- end }}
      {{- with $v.tls.caConfigMap }}
      {{- if .name }}
      - configMap:
          name: {{ .name }}
          items:
            - { key: {{ .key }}, path: ca.crt }
      {{- end }}
      {{- end }}
      {{- with $v.tls.crlConfigMap }}
      {{- if .name }}
      - configMap:
          name: {{ .name }}
          items:
            - { key: {{ .key }}, path: ca.crl }
      {{- end }}
      {{- end }}
{{- if and (hasKey $v "database") $v.database.existingSecret }}
{{ include "linkage.volume.database" . }}
{{- end }}
{{- if and (not .backup) (dig "objects" "bucket" "" $v) }}
- name: objects
  secret:
    secretName: {{ $v.objects.existingSecret }}
    defaultMode: 0440
    items:
      - { key: {{ $v.objects.accessKeyKey }}, path: access-key }
      - { key: {{ $v.objects.secretKeyKey }}, path: secret-key }
- name: objects-ca
  configMap:
    name: {{ $v.objects.caConfigMap.name }}
    items:
      - { key: {{ $v.objects.caConfigMap.key }}, path: ca.crt }
{{- end }}
{{- if and (not .backup) (dig "page" "enabled" false $v) }}
{{- if or $v.page.tls.existingSecret $v.page.tls.certManager.enabled }}
- name: page-tls
  secret:
    secretName: {{ include "linkage.pageTlsSecret" $root }}
    defaultMode: 0440
    items:
      - { key: {{ $v.page.tls.certificateKey }}, path: tls.crt }
      - { key: {{ $v.page.tls.privateKeyKey }}, path: tls.key }
      - { key: {{ $v.page.tls.caKey }}, path: ca.crt }
{{- end }}
{{- with $v.page.oidc }}
{{- if .enabled }}
- name: oidc-ca
  configMap:
    name: {{ .caConfigMap.name }}
    items:
      - { key: {{ .caConfigMap.key }}, path: ca.crt }
{{- if .clientSecretName }}
- name: oidc
  secret:
    secretName: {{ .clientSecretName }}
    defaultMode: 0440
    items:
      - { key: {{ .clientSecretKey }}, path: client-secret }
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- if include "linkage.shared" . }}
- name: data
{{- if $v.scratch.storageClass }}
  ephemeral:
    volumeClaimTemplate:
      spec:
        accessModes: [ReadWriteOnce]
        storageClassName: {{ $v.scratch.storageClass }}
        resources:
          requests:
            storage: {{ $v.scratch.size }}
{{- else }}
  emptyDir:
    sizeLimit: {{ $v.scratch.size }}
{{- end }}
- name: audit
  persistentVolumeClaim:
    claimName: {{ $v.audit.existingClaim | default (printf "%s-%s-audit" $fullname $role) }}
{{- end }}
{{- if and (not .backup) (dig "inbox" "enabled" false $v) $v.inbox.existingClaim }}
- name: inbox
  persistentVolumeClaim:
    claimName: {{ $v.inbox.existingClaim }}
{{- end }}
- name: tmp
  emptyDir:
    sizeLimit: 1Gi
{{- end -}}

{{/* .configMap holds the role's file; the node's other files come from it or from ConfigMaps that exist. */}}
{{- define "linkage.volume.config" -}}
{{- $v := index .root.Values .role -}}
- name: config
  projected:
    sources:
      - configMap:
          name: {{ .configMap }}
      {{- if eq .role "node" }}
      {{- range $part, $path := include "linkage.configPaths" . | fromYaml }}
      {{- with index $v $part }}
      {{- if .existingConfigMap }}
      - configMap:
          name: {{ .existingConfigMap }}
          items:
            - { key: {{ .key }}, path: {{ $path }} }
      {{- end }}
      {{- end }}
      {{- end }}
      {{- end }}
{{- end -}}

{{- define "linkage.configPaths" -}}
mapping: correspondance.toml
passSet: passes.toml
clkSchema: clk-schema.json
{{- end -}}

{{/* The files that the node's ConfigMap holds beside node.toml. */}}
{{- define "linkage.configFiles" -}}
{{- if eq .role "node" }}
{{- $v := .root.Values.node -}}
{{- range $part, $path := include "linkage.configPaths" . | fromYaml }}
{{- with (index $v $part).text }}
{{ $path }}: {{ . | toJson }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "linkage.volume.database" -}}
{{- $v := (index .root.Values .role).database -}}
- name: database
  secret:
    secretName: {{ $v.existingSecret }}
    defaultMode: 0440
    items:
      - { key: {{ $v.urlKey }}, path: url }
      {{- if $v.caKey }}
      - { key: {{ $v.caKey }}, path: ca.crt }
      {{- end }}
{{- end -}}

{{/* The key files that a role reads, as `linkage keys new` names them. */}}
{{- define "linkage.keyFiles" -}}
{{- $v := index .root.Values .role -}}
{{- $files := list "signing.key" -}}
{{- if eq .role "node" -}}
{{- $files = concat $files (list "sealing.key" "storage.key") -}}
{{- if $v.keys.groupContribution -}}{{- $files = append $files "contribution.key" -}}{{- end -}}
{{- if $v.keys.clkSecret -}}{{- $files = append $files "clkhash.secret" -}}{{- end -}}
{{- if $v.keys.hashKeysKey -}}{{- $files = append $files "hash-keys.key" -}}{{- end -}}
{{- else if eq .role "custodian" -}}
{{- $files = concat $files (list "oprf.key" "pseudonym.key") -}}
{{- else if eq .role "analyst" -}}
{{- $files = concat $files (list "sealing.key" "pseudonym.key") -}}
{{- end -}}
{{- join " " $files -}}
{{- end -}}
