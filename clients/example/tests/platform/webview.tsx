// A WebView as react-native-webview promises it, on an iframe. Its native half, which runs inside of
// the page, is `frame.js`. What is on `window` is for who plays the system around the app.

import {
  forwardRef,
  useEffect,
  useImperativeHandle,
  useRef,
  type CSSProperties,
  type ReactElement,
} from "react";
import { Linking } from "react-native";
import type { WebViewProps } from "react-native-webview";

type Handler = ((event: never) => void) | undefined;

interface FromFrame {
  readonly webview?: "message" | "navigate";
  readonly text?: string;
  readonly url: string;
}

interface Controls {
  readonly props: WebViewProps;
  readonly end: () => void;
}

declare global {
  interface Window {
    /** iOS and Android tell a page things in ways of their own. */
    system: "ios" | "android";
    webViews: Set<Controls>;
    /** What the system would have opened in its own browser. */
    openedLinks: string[];
  }
}

window.system = "ios";
window.webViews = new Set();
window.openedLinks = [];
Linking.openURL = async (url: string) => void window.openedLinks.push(url);

const STYLE: CSSProperties = { border: 0, width: "100%", height: "100%", flex: 1 };

export const WebView = forwardRef(function WebView(props: WebViewProps, ref): ReactElement {
  const frame = useRef<HTMLIFrameElement>(null);
  const isDead = useRef(false);
  const latest = useRef(props);
  latest.current = props;
  const address = (props.source as { uri: string }).uri;

  /** Handlers are given what is native, as an event. */
  function tell(handler: Handler, nativeEvent: object): void {
    const event = { nativeEvent, persist: () => undefined, isDefaultPrevented: () => false };
    handler?.(event as never);
  }

  function command(what: object): void {
    if (isDead.current) return; // a WebView without a process takes commands, and does nothing
    frame.current?.contentWindow?.postMessage(what, "*");
  }

  async function load(url: string): Promise<void> {
    if (!mayLoad(latest.current, url)) return;
    const status = await statusOf(url);
    if (frame.current === null || isDead.current) return;
    const event = { url, title: "", loading: false, canGoBack: false, canGoForward: false };
    if (status === null) {
      const offline = { code: -1009, description: "The Internet connection appears to be offline." };
      tell(latest.current.onError as Handler, { ...event, ...offline });
      return;
    }
    if (status >= 400) {
      tell(latest.current.onHttpError as Handler, { ...event, statusCode: status, description: "" });
    }
    frame.current.src = url;
  }

  function end(): void {
    isDead.current = true;
    frame.current?.removeAttribute("src");
    if (frame.current) frame.current.srcdoc = "";
    if (window.system === "android") {
      tell(latest.current.onRenderProcessGone as Handler, { didCrash: true });
    } else tell(latest.current.onContentProcessDidTerminate as Handler, { url: address });
  }

  useEffect(() => {
    const take = ({ data, source }: MessageEvent<FromFrame>): void => {
      if (source === null || source !== frame.current?.contentWindow || isDead.current) return;
      const { webview, text: said, url } = data;
      if (webview === "message") tell(latest.current.onMessage as Handler, { data: said, url });
      if (webview === "navigate") void load(url);
    };
    const controls: Controls = {
      get props() {
        return latest.current;
      },
      end,
    };
    window.webViews.add(controls);
    window.addEventListener("message", take);
    return () => {
      window.webViews.delete(controls);
      window.removeEventListener("message", take);
    };
  }, []);
  useEffect(() => void load(address), [address]);

  useImperativeHandle(ref, () => ({
    postMessage: (text: string) => command({ webview: "post", text, system: window.system }),
    injectJavaScript: (code: string) => command({ webview: "inject", code }),
    reload: () => void load(address),
  }));

  return (
    <iframe
      ref={frame}
      title="WebView"
      allow={props.mediaPlaybackRequiresUserAction === false ? "autoplay" : ""}
      onLoad={() => command({ webview: "inject", code: props.injectedJavaScript ?? "" })}
      style={STYLE}
    />
  );
});

/** As react-native-webview decides: what is not in the list is the system's, not the app's. */
function mayLoad(props: WebViewProps, url: string): boolean {
  const origin = /^[A-Za-z][A-Za-z0-9+\-.]+:(\/\/)?[^/]*/.exec(url)?.[0] ?? "";
  const patterns = ["about:blank", ...(props.originWhitelist ?? ["http://*", "https://*"])];
  const isListed = patterns.some((pattern) => {
    const escaped = pattern.replace(/[|\\{}()[\]^$+?.]/g, "\\$&").replace(/\*/g, ".*");
    return new RegExp(`^${escaped}`).test(origin);
  });
  if (!isListed) void Linking.openURL(url);
  return isListed && props.onShouldStartLoadWithRequest?.({ url } as never) !== false;
}

/** What the server answers; null if it doesn't. */
async function statusOf(url: string): Promise<number | null> {
  try {
    return (await fetch(url, { method: "HEAD" })).status;
  } catch {
    return null;
  }
}
