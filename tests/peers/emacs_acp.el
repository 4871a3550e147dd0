;;; Emacs with acp.el talks to `port42 acp': asks, allows, loads the session, cancels a turn.  -*- lexical-binding: t; -*-
;; CLIENTS is the folder of acp.el, PORT42 the command as JSON.  It prints a line of JSON for what came.
(add-to-list 'load-path (concat (getenv "CLIENTS") "/acp.el"))
(require 'acp)

(defun show (name value)
  (princ (concat (json-serialize `((name . ,name) (value . ,value))) "\n")))

(defvar updates nil)

(defun open-client (agent)
  "A client of that agent, initialized, which chooses the first option of what is asked."
  (let* ((command (append (json-parse-string (getenv "PORT42") :array-type 'list) (list agent)))
         (client (acp-make-client :context-buffer (current-buffer) :command (car command)
                                  :command-params (cdr command))))
    (acp-subscribe-to-notifications
     :client client
     :on-notification (lambda (n) (push (map-nested-elt n '(params update)) updates)))
    (acp-subscribe-to-requests
     :client client
     :on-request (lambda (request)
                   (show "asked" (map-nested-elt request '(params toolCall title)))
                   (acp-send-response
                    :client client
                    :response (acp-make-session-request-permission-response
                               :request-id (map-elt request 'id)
                               :option-id (map-elt (aref (map-nested-elt request '(params options)) 0)
                                                   'optionId)))))
    (acp-send-request :client client :sync t :request (acp-make-initialize-request :protocol-version 1))
    client))

(defun new-session (client)
  (map-elt (acp-send-request :client client :sync t :request (acp-make-session-new-request :cwd "/tmp"))
           'sessionId))

(defun question (session text)
  (acp-make-session-prompt-request :session-id session :prompt `[((type . "text") (text . ,text))]))

(defun reply ()
  (mapconcat (lambda (update) (map-nested-elt update '(content text)))
             (seq-filter (lambda (u) (equal (map-elt u 'sessionUpdate) "agent_message_chunk"))
                         (reverse updates))
             ""))

(let* ((client (open-client "@permission")) (session (new-session client)))
  (show "result" (acp-send-request :client client :sync t
                                   :request (question session "edit allow_once reject_once")))
  (show "reply" (reply))
  (setq updates nil)
  (acp-send-request :client client :sync t
                    :request (acp-make-session-load-request :session-id session :cwd "/tmp"))
  (show "loaded" (reply))
  (acp-shutdown :client client))

(let* ((client (open-client "@slow")) (session (new-session client)) (result nil))
  (setq updates nil)
  (acp-send-request :client client :request (question session "go")
                    :on-success (lambda (r) (setq result r)) :on-failure (lambda (r &rest _) (setq result r)))
  (while (not updates) (accept-process-output nil 0.1))
  (acp-send-notification :client client
                         :notification (acp-make-session-cancel-notification :session-id session))
  (while (not result) (accept-process-output nil 0.1))
  (show "cancelled" result)
  (acp-shutdown :client client))
