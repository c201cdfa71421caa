// What a WebView must be told so that an avatar plays in it, on both systems, and nothing else does.

import { StyleSheet } from "react-native";
import type { WebViewProps } from "react-native-webview";

/** On the page as it is anywhere, but in an app: it is a face, not a text. */
const NO_SELECTION = `(() => {
  const { style } = document.documentElement; // which a content security policy lets pass
  style.setProperty("-webkit-touch-callout", "none");
  style.setProperty("-webkit-user-select", "none");
  style.setProperty("user-select", "none");
  style.setProperty("-webkit-tap-highlight-color", "transparent");
})();
true;`;

export const WEBVIEW_FLAGS = {
  javaScriptEnabled: true,
  domStorageEnabled: true,
  injectedJavaScript: NO_SELECTION,

  // Speech is played where the view is, and without a tap. Counts when a WebView is made.
  allowsInlineMediaPlayback: true,
  mediaPlaybackRequiresUserAction: false,
  allowsAirPlayForMediaPlayback: false,
  allowsPictureInPictureMediaPlayback: false,
  allowsFullscreenVideo: false,

  // It does not move under the finger.
  bounces: false,
  scrollEnabled: false,
  overScrollMode: "never",
  pullToRefreshEnabled: false,
  showsHorizontalScrollIndicator: false,
  showsVerticalScrollIndicator: false,
  automaticallyAdjustContentInsets: false,
  contentInsetAdjustmentBehavior: "never",
  setBuiltInZoomControls: false,
  setDisplayZoomControls: false,
  textZoom: 100,

  // No text to be selected or looked up, no links to be previewed.
  textInteractionEnabled: false,
  dataDetectorTypes: "none",
  allowsLinkPreview: false,
  allowsBackForwardNavigationGestures: false,
  hideKeyboardAccessoryView: true,

  // Nothing of the device is for the page, and no other window is opened.
  allowFileAccess: false,
  geolocationEnabled: false,
  mediaCapturePermissionGrantType: "deny",
  mixedContentMode: "never",
  setSupportMultipleWindows: false,
  javaScriptCanOpenWindowsAutomatically: false,
  thirdPartyCookiesEnabled: false,
  paymentRequestEnabled: false,

  // What is behind the view is seen until the page is there, and through a transparent one.
  style: StyleSheet.create({ page: { flex: 1, backgroundColor: "transparent" } }).page,
} as const satisfies WebViewProps;
