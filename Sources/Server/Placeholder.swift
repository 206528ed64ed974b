public import Core
public enum ServerPlaceholder {}
